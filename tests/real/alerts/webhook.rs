//! Where Alertmanager tells its alerts: what a person would have been told, and when it was over.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{Json, Router, extract::State, routing::post};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::gate::{PATIENCE, wait_for};

/// An alert as it was told.
#[derive(Debug, Clone, PartialEq)]
pub struct Told(Value);

/// Takes what Alertmanager posts; ends with this value.
pub struct Webhook {
    address: SocketAddr,
    told: Arc<Mutex<Vec<Told>>>,
    _runtime: Runtime,
}

impl Told {
    /// The value of a label.
    pub fn label(&self, name: &str) -> &str {
        self.0["labels"][name].as_str().unwrap_or_default()
    }

    /// Its summary.
    pub fn summary(&self) -> &str {
        self.annotation("summary")
    }

    fn annotation(&self, name: &str) -> &str {
        self.0["annotations"][name].as_str().unwrap_or_default()
    }

    fn is_firing(&self) -> bool {
        self.0["status"] == "firing"
    }
}

impl Webhook {
    /// On a free port.
    pub fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let (address, told) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let routes = Router::new().route("/{receiver}", post(take)).with_state(Arc::clone(&told));
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Self { address, told, _runtime: runtime }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was told under a name.
    pub fn heard(&self, name: &str) -> Vec<Told> {
        let told = self.told.lock().unwrap();
        told.iter().filter(|told| told.label("alertname") == name).cloned().collect()
    }

    /// Waits until an alert is told.
    pub fn wait_firing(&self, name: &str) -> Told {
        wait_for(name, PATIENCE, || self.heard(name).into_iter().find(Told::is_firing))
    }

    /// Waits until the last word about an alert is that it is over.
    pub fn wait_resolved(&self, name: &str) {
        wait_for(&format!("end of {name}"), PATIENCE, || {
            self.heard(name).last().filter(|told| !told.is_firing()).map(drop)
        });
    }

    /// Every text was filled in, and leads somewhere.
    pub fn assert_readable(&self) {
        for told in self.told.lock().unwrap().iter() {
            for name in ["summary", "description", "runbook_url"] {
                let text = told.annotation(name);
                let is_whole = !text.is_empty() && !text.contains("no value") && !text.contains("{{");
                assert!(is_whole && !text.contains("error expanding"), "{told:?}");
            }
            assert!(told.annotation("runbook_url").starts_with("https://tickgate.example/"), "{told:?}");
            assert_eq!(told.label("runbooks"), "", "{told:?}");
        }
    }
}

async fn take(State(told): State<Arc<Mutex<Vec<Told>>>>, Json(message): Json<Value>) {
    let alerts = message["alerts"].as_array().cloned().unwrap_or_default();
    told.lock().unwrap().extend(alerts.into_iter().map(Told));
}
