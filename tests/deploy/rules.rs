//! What every service must be: pinned, bounded, watched, and closed to others.

use crate::{
    compose::{Compose, Service},
    read,
};

/// Who may be reached from this machine, at which port of the container.
const PUBLISHED: [(&str, &str); 3] = [("grafana", "3000"), ("kafka-ui", "8080"), ("serve", "8080")];

/// Programs that ask a service for its health. Not `promtool`: the one of the pinned Prometheus has no such command.
const ASKS: [&str; 5] = ["tickgate", "wget", "cqlsh", "/opt/kafka/bin/kafka-topics.sh", "airflow"];

#[test]
fn what_is_not_tested_as_a_container_is_named() {
    let told = read("docs/deploy.md");
    for (name, service) in &Compose::read().services {
        let ours = service.image.starts_with("tickgate");
        assert!(
            ours || told.contains(&format!("`{}`", service.image)),
            "`{name}`: no word of `{}`",
            service.image
        );
    }
}

#[test]
fn images_are_pinned_and_services_bounded_and_watched() {
    let compose = Compose::read();
    for (name, service) in &compose.services {
        let (_, tag) = service.image.rsplit_once(':').unwrap_or_else(|| panic!("`{name}`: no version"));
        assert!(
            tag.matches('.').count() >= 2 && tag != "latest",
            "`{name}`: `{}` is not pinned",
            service.image
        );
        assert!(service.mem_limit.ends_with(['m', 'g']), "`{name}`: {}", service.mem_limit);
        if service.restart == "unless-stopped" {
            let health = &service.healthcheck;
            assert!(!health.disable && health.test.first().is_some_and(|kind| kind == "CMD"), "`{name}`");
            // What is known to be in the images: there is no shell to count on.
            let asks = health.test.iter().skip(1).find(|word| *word != "env" && !word.contains('='));
            assert!(
                asks.is_some_and(|program| ASKS.contains(&program.as_str())),
                "`{name}`: {:?}",
                health.test
            );
            let are_bounded =
                [&health.interval, &health.timeout, &health.start_period].iter().all(|it| it.is_some());
            assert!(are_bounded && health.retries.is_some(), "`{name}`: {health:?}");
        } else {
            assert!(service.restart.starts_with("on-failure:"), "`{name}`: `{}`", service.restart);
            assert!(service.healthcheck.disable, "`{name}` ends: it is not to be asked for its health");
        }
    }
}

#[test]
fn our_own_containers_can_do_little() {
    let compose = Compose::read();
    for (name, service) in compose.ours() {
        // Compose copies a secret from the environment into the container, and refuses to where nothing can be written.
        assert_eq!(service.read_only, service.secrets.is_empty(), "`{name}`: {:?}", service.secrets);
        assert!(service.tmpfs == ["/tmp"] && service.cap_drop == ["ALL"], "`{name}`");
        assert_eq!(service.security_opt, ["no-new-privileges:true"], "`{name}`");
        assert!(service.stop_grace_period.is_some(), "`{name}`: a stop takes 5 s");
        assert!(service.build.is_some(), "`{name}`: nobody else makes the image");
        assert_eq!(service.image, format!("tickgate:{}", env!("CARGO_PKG_VERSION")), "`{name}`");
    }
    assert!(compose.ours().count() >= 6);
}

#[test]
fn only_what_people_look_at_is_published_and_only_on_the_loopback() {
    for (name, service) in &Compose::read().services {
        let of: Vec<&str> = PUBLISHED.iter().filter(|(of, _)| of == name).map(|(_, port)| *port).collect();
        assert_eq!(service.ports.len(), of.len(), "`{name}` publishes {:?}", service.ports);
        for (published, wanted) in service.ports.iter().zip(of) {
            let parts: Vec<&str> = published.split(':').collect();
            assert!(
                parts.len() == 3 && parts[0] == "127.0.0.1" && parts[2] == wanted,
                "`{name}`: {published}"
            );
        }
    }
}

#[test]
fn no_secret_is_written_down() {
    let is_secret = |name: &str| {
        ["PASSWORD", "TOKEN", "SECRET", "KEY"].iter().any(|word| name.to_uppercase().contains(word))
    };
    let compose = Compose::read();
    for (name, Service { environment, secrets, .. }) in &compose.services {
        for (variable, value) in environment.iter().filter(|(variable, _)| is_secret(variable)) {
            let file =
                value.strip_prefix("/run/secrets/").unwrap_or_else(|| panic!("`{name}`: `{variable}`"));
            assert!(
                variable.ends_with("_FILE") && secrets.iter().any(|given| given == file),
                "`{name}`: {value}"
            );
        }
        for secret in secrets {
            assert!(compose.secrets.contains_key(secret), "`{name}`: there is no secret `{secret}`");
        }
    }
    let example = crate::read(".env.example");
    for (name, source) in &compose.secrets {
        let variable = format!("{}=", source.environment);
        let is_empty = |line: &str| line == variable;
        assert!(example.lines().any(is_empty), "`.env.example` does not ask for `{name}`: `{variable}`");
    }
    assert!(crate::read(".gitignore").lines().any(|line| line == ".env"));
}
