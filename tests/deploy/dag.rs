//! The DAG, as far as can be seen without Airflow: it is Python, and runs commands that exist.

use std::process::Command;

use crate::{checkout, commands::assert_known};

const DAG: &str = "airflow/dags/tickgate_batch.py";
/// Prints, as JSON, the arguments of every `arguments=[…]`, in order.
const ARGUMENTS: &str = "
import ast, json, sys
tree = ast.parse(open(sys.argv[1]).read())
calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
found = [word for call in calls for word in call.keywords if word.arg == 'arguments']
found.sort(key=lambda word: word.value.lineno)
print(json.dumps([ast.literal_eval(word.value) for word in found]))
";

#[test]
fn the_dag_is_python_and_its_commands_exist() {
    let output = Command::new("python3").args(["-c", ARGUMENTS]).arg(checkout(DAG)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let commands: Vec<Vec<String>> = serde_json::from_slice(&output.stdout).unwrap();
    let roles: Vec<&str> = commands.iter().map(|command| command[0].as_str()).collect();
    assert_eq!(roles, ["ingest", "process", "sink", "audit"]);
    for command in &commands {
        assert_known(DAG, command);
    }
}
