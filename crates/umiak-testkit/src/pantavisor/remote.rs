//! The web address: pvr's remote at `/cgi-bin/pvr`, and what pvtx says of an update.

use umiak_pvr::Value;

use super::world::{Step, World, busy, error, json, object_of};
use crate::http::{Request, Response};

/// Answers one request.
pub(super) fn answer(world: &mut World, request: &Request) -> Response {
    if let Some(token) = &world.token {
        let shown = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        // What is signed needs no token.
        if shown != Some(token) && !request.target.starts_with("/local-s3/") {
            return error(401, "You need to be logged in").with("WWW-Authenticate", "JWT realm=\"pantahub services\"");
        }
    }
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    if let Some(name) = path.strip_prefix("/local-s3/").and_then(object_of) {
        return match request.method.as_str() {
            "PUT" => world.upload(name, request),
            _ => world.download(name, request),
        };
    }
    if path == "/cgi-bin/pvtx/status" {
        let revision = query.strip_prefix("rev=").unwrap_or_default();
        return match world.progress(revision) {
            Some(progress) => json(200, &Value::object([("progress", progress), ("rev", Value::from(revision))])),
            None => error(404, "No such revision"),
        };
    }
    let server = format!("http://{}", request.header("host").unwrap_or_default());
    match (request.method.as_str(), path.strip_prefix("/cgi-bin/pvr/")) {
        ("GET", Some(".pvrremote")) => json(200, &description(world, &server)),
        ("POST", Some("steps")) => post(world, request),
        ("POST", Some(rest)) if rest.ends_with("/objects") => announce(world, request, &server),
        ("GET", Some(rest)) => match (rest.strip_suffix("/state"), object_of(path)) {
            (_, Some(name)) if world.files.contains_key(name) => json(200, &places(name, &server)),
            (Some(step), _) => match step.strip_prefix("steps/").and_then(|step| world.steps.get(step)) {
                Some(step) => json(200, &step.state),
                None => error(404, "No such step"),
            },
            _ => look(world, rest),
        },
        _ => Response::new(404, "<html>404 Not Found</html>"),
    }
}

fn description(world: &World, server: &str) -> Value {
    let newest = newest(world);
    let at = |path: String| Value::from(format!("{server}/cgi-bin/pvr/{path}"));
    Value::object([
        ("pvr-spec", Value::from("pvr-pantahub-1")),
        ("json-get-url", at(format!("steps/{newest}/state"))),
        ("json-key", Value::from("state")),
        ("objects-endpoint", at(format!("steps/{newest}/objects"))),
        ("post-url", at("steps".into())),
        ("post-fields", Value::from(vec!["commit-msg"])),
        ("post-fields-opt", Value::from(vec!["rev"])),
        ("step-get-url", at(format!("steps/{newest}"))),
    ])
}

fn newest(world: &World) -> i64 {
    world.steps.keys().filter_map(|name| name.parse::<i64>().ok()).max().unwrap_or(0)
}

fn places(name: &str, server: &str) -> Value {
    let place = |use_: &str| Value::from(format!("{server}/local-s3/{name}?for={use_}&token=secret"));
    Value::object([("sha256sum", Value::from(name)), ("signed-puturl", place("put")), ("signed-geturl", place("get"))])
}

/// An object is there when it has a file, whatever is in it.
fn announce(world: &World, request: &Request, server: &str) -> Response {
    let document = Value::parse(&request.body, 1 << 20).unwrap_or_default();
    let member = |name: &str| document.get(name).and_then(Value::as_str);
    match (member("sha256sum"), member("size").map(str::parse::<u64>)) {
        (Some(name), Some(Ok(_))) => {
            json(if world.files.contains_key(name) { 409 } else { 200 }, &places(name, server))
        }
        _ => error(400, "Size has to be a decimal string"),
    }
}

fn post(world: &mut World, request: &Request) -> Response {
    if world.is_busy() {
        return busy();
    }
    let document = Value::parse(&request.body, 1 << 20).unwrap_or_default();
    let (Some(state), Some(Value::Number(asked))) = (document.get("state"), document.get("rev")) else {
        return error(400, "A step has a state and a rev");
    };
    if let Some(why) = world.objection(state) {
        return error(422, &why);
    }
    if let Some(missing) = World::named(state).iter().find(|name| !world.files.contains_key(*name)) {
        return error(400, &format!("Object {missing} cannot be resolved"));
    }
    let next = (newest(world) + 1).to_string();
    if !["-1", &next].contains(&asked.as_str()) {
        return error(409, "Another revision is the newest");
    }
    let message = document.get("commit-msg").and_then(Value::as_str).unwrap_or_default().to_owned();
    world.steps.insert(next.clone(), Step { state: state.clone(), message, progress: vec![("NEW", 0, "")] });
    world.run(&next);
    if !request.whole {
        return Response::default();
    }
    look(world, &format!("steps/{next}"))
}

/// A step with its progress.
fn look(world: &mut World, path: &str) -> Response {
    let name = path.strip_prefix("steps/").unwrap_or_default().to_owned();
    let (Some(state), Some(progress)) = (world.steps.get(&name).map(|step| step.state.clone()), world.progress(&name))
    else {
        return error(404, "No such step");
    };
    let revision = name.parse::<i64>().map_or_else(|_| Value::from(name.as_str()), Value::from);
    json(200, &Value::object([("rev", revision), ("state", state), ("progress", progress)]))
}
