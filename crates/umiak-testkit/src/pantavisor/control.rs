//! pv-ctrl, the control socket.

use umiak_pvr::Value;

use super::world::{Step, World, busy, error, json, object_of, told};
use crate::http::{Request, Response};

/// Characters of a local revision's name, `locals/` included.
const LONGEST_NAME: usize = 64;

/// Bytes of a commit message.
const LONGEST_MESSAGE: usize = 256;

/// Bytes of a command.
const LONGEST_COMMAND: usize = 4096;

/// Answers one request.
pub(super) fn answer(world: &mut World, request: &Request) -> Response {
    if !matches!(request.header("host"), None | Some("" | "localhost")) {
        return error(400, "Host must be localhost");
    }
    if !world.managed {
        return error(403, "Request not sent from mgmt platform");
    }
    match (request.method.as_str(), request.target.as_str()) {
        ("GET", "/objects") => json(200, &objects(world)),
        ("GET", "/steps") => json(200, &steps(world)),
        ("GET", "/steps/current") => json(200, &world.steps[&world.current].state),
        ("GET", "/device-meta") => json(200, &metadata(world)),
        ("POST", "/commands") => command(world, request),
        ("POST", "/storage/gc") => {
            let reclaimed = i64::try_from(world.collect()).unwrap_or(i64::MAX);
            json(200, &Value::object([("reclaimed", Value::from(reclaimed))]))
        }
        (method, target) => match (target.strip_prefix("/objects/"), target.strip_prefix("/steps/")) {
            (Some(_), _) => match (method, object_of(target)) {
                ("PUT", Some(name)) => world.upload(name, request),
                ("GET", Some(name)) => world.download(name, request),
                _ => error(400, "Bad object"),
            },
            (_, Some(rest)) => step(world, method, rest, request),
            _ => error(400, "Unknown endpoint"),
        },
    }
}

fn objects(world: &World) -> Value {
    let object = |(name, bytes): (&String, &Vec<u8>)| {
        Value::object([("sha256", Value::from(name.as_str())), ("size", Value::from(bytes.len().to_string()))])
    };
    Value::from(world.files.iter().map(object).collect::<Vec<_>>())
}

fn steps(world: &World) -> Value {
    let step = |(name, step): (&String, &Step)| {
        let progress = step.progress.first().map_or_else(Value::default, |progress| told(*progress));
        Value::object([
            ("name", Value::from(name.as_str())),
            ("date", Value::from("2026-01-01T00:00:00Z")),
            ("commitmsg", Value::from(step.message.as_str())),
            ("progress", progress),
        ])
    };
    Value::from(world.steps.iter().map(step).collect::<Vec<_>>())
}

fn metadata(world: &World) -> Value {
    let number = |number: u64| Value::from(i64::try_from(number).unwrap_or(i64::MAX));
    let reserved = world.capacity / 20;
    let mut metadata = umiak_pvr::json::Object::new();
    metadata.insert("pantavisor.version".into(), Value::from("fake"));
    if world.tells_room {
        let storage = [
            ("total", number(world.capacity)),
            ("free", number(world.free())),
            ("reserved", number(reserved)),
            ("real_free", number(world.free().saturating_sub(reserved))),
        ];
        metadata.insert("storage".into(), Value::object(storage));
    }
    Value::Object(metadata)
}

fn step(world: &mut World, method: &str, rest: &str, request: &Request) -> Response {
    let (name, what) = match rest.rsplit_once('/') {
        Some((name, what @ ("progress" | "commitmsg"))) => (name, what),
        _ => (rest, ""),
    };
    let local = name.strip_prefix("locals/").is_some_and(|own| !own.is_empty() && !own.contains('/'));
    match (method, what) {
        ("GET", "") => {
            world.steps.get(name).map_or_else(|| error(400, "Step not found"), |step| json(200, &step.state))
        }
        ("GET", "progress") => {
            world.progress(name).map_or_else(|| error(400, "No progress"), |value| json(200, &value))
        }
        ("PUT", _) if !local || name.len() > LONGEST_NAME => error(400, "Bad step name"),
        ("PUT", "commitmsg") if request.body.len() > LONGEST_MESSAGE => error(400, "Message too long"),
        ("PUT", "commitmsg") => match (world.steps.get_mut(name), String::from_utf8(request.body.clone())) {
            (Some(step), Ok(text)) => {
                step.message = text;
                Response::new(200, "")
            }
            _ => error(400, "Step not found"),
        },
        ("PUT", "") if world.is_busy() => busy(),
        ("PUT", "") => put(world, name, request),
        _ => error(400, "Bad method"),
    }
}

fn put(world: &mut World, name: &str, request: &Request) -> Response {
    if world.steps.contains_key(name) {
        return error(409, "Step already exists");
    }
    if !request.whole {
        return Response::default();
    }
    let Ok(state) = Value::parse(&request.body, 1 << 20) else { return error(422, "State JSON has bad format") };
    match world.objection(&state) {
        Some(why) => error(422, &why),
        None => {
            let progress = vec![("INPROGRESS", 50, "Update not yet installed")];
            world.steps.insert(name.to_owned(), Step { state, message: String::new(), progress });
            Response::new(200, "")
        }
    }
}

fn command(world: &mut World, request: &Request) -> Response {
    if request.body.len() > LONGEST_COMMAND {
        return error(400, "Command too long");
    }
    let Ok(command) = Value::parse(&request.body, 1 << 20) else { return error(400, "Bad command") };
    let member = |name| command.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (op, payload) = (member("op"), member("payload"));
    if world.is_busy() {
        return busy();
    }
    world.commands.push((op.clone(), payload.clone()));
    // Operations are matched by their beginning.
    if op.starts_with("LOCAL_RUN") {
        if !world.steps.contains_key(&payload) {
            return error(400, "Step not found");
        }
        world.run(&payload);
    }
    Response::new(200, "")
}
