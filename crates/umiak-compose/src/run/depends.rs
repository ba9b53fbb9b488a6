//! What a service waits for: `depends_on` in both forms, `links`, and the services whose namespaces it shares.

use umiak_spec::service::{Condition, Dependency, Network, Service, Sharing};

use super::field::Field;

pub(super) fn read(service: &mut Service, field: &Field<'_>) {
    let plain = Dependency { condition: Condition::Started, restart: false, required: true };
    for (name, value) in field.get("depends_on").iter().flat_map(Field::named) {
        let dependency = if value.is_map() { dependency(&value, plain) } else { plain };
        service.depends_on.insert(name, dependency);
    }
    for link in field.get("links").iter().flat_map(Field::items) {
        let Some(text) = link.text() else { continue };
        let (name, alias) = text.split_once(':').unwrap_or((&text, &text));
        if name != alias {
            link.leave_to_compose("a service is reached by its name and its `aliases`, not by names of others for it");
        }
        service.depends_on.entry(name.to_owned()).or_insert(plain);
    }
    let spaces = &service.namespaces;
    let mut shared: Vec<String> = [&spaces.pid, &spaces.ipc, &spaces.uts, &spaces.cgroup]
        .into_iter()
        .filter_map(|space| if let Sharing::Service(name) = space { Some(name.clone()) } else { None })
        .collect();
    if let Network::Service(name) = &service.network {
        shared.push(name.clone());
    }
    for name in shared {
        service.depends_on.entry(name).or_insert(plain);
    }
}

fn dependency(value: &Field<'_>, plain: Dependency) -> Dependency {
    let condition = value.get("condition").and_then(|condition| {
        condition.parsed("a condition", |text| match text {
            "service_started" => Some(Condition::Started),
            "service_healthy" => Some(Condition::Healthy),
            "service_completed_successfully" => Some(Condition::Completed),
            _ => None,
        })
    });
    let truth = |key: &str| value.get(key).and_then(|value| value.truth());
    Dependency {
        condition: condition.unwrap_or(plain.condition),
        restart: truth("restart").unwrap_or(plain.restart),
        required: truth("required").unwrap_or(plain.required),
    }
}
