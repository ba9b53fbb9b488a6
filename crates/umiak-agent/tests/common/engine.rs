//! An engine whose containers are rows of a table. What a service does when it is started is said by its arguments:
//! `well`, `sick` (its probe fails), `slow N` (healthy after N looks), `ends CODE`, `restarts N`, `broken` (does not start).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use umiak_engine::{
    Condition, Deployment, Engine, EngineError, Health, Images, LogQuery, LogSink, Observed, Placed, Refused,
};
use umiak_spec::Digest;
use umiak_spec::service::Service;

type Key = (String, String, String);

#[derive(Default)]
pub struct FakeEngine {
    table: Mutex<Table>,
    /// Nothing has an effect any more: the process is dead, or the power is gone.
    pub dead: AtomicBool,
    /// It does not answer.
    pub deaf: AtomicBool,
    /// Calls with an effect so far; at `cut` the process dies.
    pub calls: AtomicU64,
    pub cut: AtomicU64,
    /// Whether the disk was cut off, which is the process's end, too.
    disk: Mutex<Option<Box<dyn Fn() -> bool + Send>>>,
}

#[derive(Clone, Default)]
struct Table {
    ready: BTreeSet<(String, String)>,
    rows: BTreeMap<Key, Row>,
    /// What was done, in order.
    log: Vec<String>,
    refuses: BTreeSet<String>,
    broken: bool,
    /// First lines of the images' configurations.
    labels: BTreeMap<Digest, String>,
    keeps: bool,
}

#[derive(Clone)]
struct Row {
    image: Digest,
    lowers: Vec<PathBuf>,
    condition: Condition,
    health: Option<Health>,
    restarts: u32,
    slow: u32,
}

impl FakeEngine {
    /// Another engine with the same containers.
    pub fn copy(&self) -> Self {
        let engine = Self::default();
        *engine.table.lock().unwrap() = self.table.lock().unwrap().clone();
        engine
    }

    /// Calls have no effect any more once the disk was cut off.
    pub fn dies_with(&self, cut: impl Fn() -> bool + Send + 'static) {
        *self.disk.lock().unwrap() = Some(Box::new(cut));
    }

    /// The machine was started: containers are gone.
    pub fn reboot(&self) {
        let mut table = self.table.lock().unwrap();
        if table.keeps {
            for row in table.rows.values_mut().filter(|row| matches!(row.condition, Condition::Running { .. })) {
                row.condition = Condition::Exited { code: 255, stopped: false };
            }
        } else {
            table.rows.clear();
            table.ready.clear();
        }
        self.dead.store(false, Ordering::SeqCst);
    }

    /// Another process talks to it.
    pub fn revive(&self) {
        self.dead.store(false, Ordering::SeqCst);
        self.cut.store(0, Ordering::SeqCst);
        *self.disk.lock().unwrap() = None;
        self.calls.store(0, Ordering::SeqCst);
    }

    /// A key that it refuses from now on.
    pub fn refuse(&self, key: &str) {
        self.table.lock().unwrap().refuses.insert(key.to_owned());
    }

    /// It keeps containers over a reboot, as Docker does.
    pub fn keep_over_reboots(&self) {
        self.table.lock().unwrap().keeps = true;
    }

    /// Whether nothing can be started.
    pub fn set_broken(&self, broken: bool) {
        self.table.lock().unwrap().broken = broken;
    }

    /// What was done since the last call, starts and stops.
    pub fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.table.lock().unwrap().log)
    }

    /// What runs: `app/service` with the first line of its lowest root.
    pub fn running(&self) -> BTreeMap<String, String> {
        let table = self.table.lock().unwrap();
        let runs = |row: &Row| matches!(row.condition, Condition::Running { .. });
        let root = |row: &Row| {
            if let Some(label) = table.labels.get(&row.image).filter(|label| !label.is_empty()) {
                return label.clone();
            }
            let read = |path: &PathBuf| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
            let all: Vec<String> = row.lowers.iter().map(read).collect();
            all.join("+").lines().next().unwrap_or_default().to_owned()
        };
        let name = |key: &Key| format!("{}/{}", key.0, key.2);
        table.rows.iter().filter(|(_, row)| runs(row)).map(|(key, row)| (name(key), root(row))).collect()
    }

    /// Every revision that has a row or is ready.
    pub fn revisions(&self) -> BTreeSet<String> {
        let table = self.table.lock().unwrap();
        let rows = table.rows.keys().map(|key| key.1.clone());
        rows.chain(table.ready.iter().map(|(_, revision)| revision.clone())).collect()
    }

    /// Something happens to a service from outside.
    pub fn set(&self, app: &str, service: &str, condition: &Condition) {
        let mut table = self.table.lock().unwrap();
        for (_, row) in table.rows.iter_mut().filter(|(key, _)| key.0 == app && key.2 == service) {
            row.condition = condition.clone();
        }
    }

    /// Counts a call with an effect; the `cut`-th one and those after it have none.
    fn alive(&self) -> Result<(), EngineError> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        if number == self.cut.load(Ordering::SeqCst) {
            self.dead.store(true, Ordering::SeqCst);
        }
        self.answers()
    }

    fn answers(&self) -> Result<(), EngineError> {
        if self.disk.lock().unwrap().as_ref().is_some_and(|was_cut| was_cut()) {
            self.dead.store(true, Ordering::SeqCst);
        }
        if self.dead.load(Ordering::SeqCst) || self.deaf.load(Ordering::SeqCst) {
            return Err(EngineError::Absent("engine".to_owned()));
        }
        Ok(())
    }
}

fn row(placed: &Placed) -> Row {
    let words: Vec<&str> = placed.service.process.args.iter().map(String::as_str).collect();
    let number = || words.get(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    let running = Condition::Running { since: Duration::ZERO };
    let mut row = Row {
        image: placed.image,
        lowers: placed.lowers.clone(),
        condition: running,
        health: None,
        restarts: 0,
        slow: 0,
    };
    match words.first().copied() {
        Some("sick") => row.health = Some(Health::Unhealthy),
        Some("slow") => (row.health, row.slow) = (Some(Health::Starting), number()),
        Some("ends") => row.condition = Condition::Exited { code: i32::try_from(number()).unwrap(), stopped: false },
        Some("restarts") => row.restarts = number(),
        Some("probed") => row.health = Some(Health::Healthy),
        _ => {}
    }
    row
}

impl Engine for FakeEngine {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn refuses(&self, service: &Service) -> Vec<Refused> {
        let table = self.table.lock().unwrap();
        let keys = service.labels.keys().filter(|key| table.refuses.contains(*key));
        keys.map(|key| Refused::new(key, "it cannot")).collect()
    }

    fn ready(&self, deployment: &Deployment, images: &dyn Images) -> Result<(), EngineError> {
        self.alive()?;
        for placed in &deployment.services {
            let failed = |reason: io::Error| EngineError::Io { act: "read", path: "image".into(), reason };
            let config = images.config(&placed.image).map_err(failed)?;
            let label = String::from_utf8_lossy(&config).lines().next().unwrap_or_default().to_owned();
            self.table.lock().unwrap().labels.insert(placed.image, label);
            for lower in &placed.lowers {
                std::fs::metadata(lower).map_err(failed)?;
            }
        }
        let mut table = self.table.lock().unwrap();
        table.ready.insert((deployment.app.clone(), deployment.revision.clone()));
        for placed in &deployment.services {
            let key = (deployment.app.clone(), deployment.revision.clone(), placed.service.name.clone());
            let created = Row { condition: Condition::Created, health: None, ..row(placed) };
            table.rows.entry(key).or_insert(created);
        }
        Ok(())
    }

    fn start(&self, deployment: &Deployment, service: &str) -> Result<(), EngineError> {
        self.alive()?;
        let mut table = self.table.lock().unwrap();
        let (app, revision) = (deployment.app.clone(), deployment.revision.clone());
        if !table.ready.contains(&(app.clone(), revision.clone())) {
            return Err(EngineError::NotReady { app, service: service.to_owned() });
        }
        let placed = deployment.placed(service)?;
        if table.broken || placed.service.process.args.first().is_some_and(|word| word == "broken") {
            let why = "exec format error".to_owned();
            return Err(EngineError::Service { service: service.to_owned(), why });
        }
        // Two of one service at a time would fight over its volumes.
        let twice = |(key, row): (&Key, &Row)| {
            key.0 == app && key.2 == service && key.1 != revision && matches!(row.condition, Condition::Running { .. })
        };
        assert!(!table.rows.iter().any(twice), "{app}/{service} runs twice");
        table.log.push(format!("start {app}/{service}"));
        table.rows.insert((app, revision, service.to_owned()), row(placed));
        Ok(())
    }

    fn stop(&self, app: &str, revision: &str, service: &str) -> Result<(), EngineError> {
        self.alive()?;
        let mut table = self.table.lock().unwrap();
        table.log.push(format!("stop {app}/{service}"));
        if let Some(row) = table.rows.get_mut(&(app.to_owned(), revision.to_owned(), service.to_owned())) {
            row.condition = Condition::Exited { code: 143, stopped: true };
        }
        Ok(())
    }

    fn observe(&self) -> Result<Vec<Observed>, EngineError> {
        self.answers()?;
        let mut table = self.table.lock().unwrap();
        for row in table.rows.values_mut() {
            if row.slow > 0 {
                row.slow -= 1;
                if row.slow == 0 {
                    row.health = Some(Health::Healthy);
                }
            }
        }
        let one = |(key, row): (&Key, &Row)| Observed {
            app: key.0.clone(),
            revision: key.1.clone(),
            service: key.2.clone(),
            image: Some(row.image),
            condition: row.condition.clone(),
            health: row.health,
            restarts: row.restarts,
            detail: None,
        };
        Ok(table.rows.iter().map(one).collect())
    }

    fn remove(&self, app: &str, revision: &str) -> Result<(), EngineError> {
        self.alive()?;
        let mut table = self.table.lock().unwrap();
        table.ready.remove(&(app.to_owned(), revision.to_owned()));
        table.rows.retain(|key, row| {
            let gone = key.0 == app && key.1 == revision;
            assert!(!gone || !matches!(row.condition, Condition::Running { .. }), "{key:?} runs and is removed");
            !gone
        });
        Ok(())
    }

    fn purge(&self, _: &str) -> Result<(), EngineError> {
        Ok(())
    }

    fn logs(&self, _: &str, _: Option<&str>, _: &LogQuery, _: &mut dyn LogSink) -> Result<(), EngineError> {
        Ok(())
    }
}
