//! Updates as a person sees them: what runs, what is started and stopped, what is said.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod common;

use std::sync::atomic::Ordering;
use std::time::Duration;

use common::supply::{Publish, service};
use common::{FIRST, Notes, SHOP, WEB, World, committed, installed, rolled_back, running, update};
use umiak_agent::{AgentError, Class, Outcome, Role, Silently, UpdateOptions, What};

#[test]
fn a_first_update_installs_and_a_second_finds_nothing_to_do() {
    let world = World::new();
    assert!(matches!(update(&world), Err(AgentError::NoTarget)));
    let world = installed();
    assert_eq!(running(&world), FIRST);
    let fetched = world.supply.fetched.load(Ordering::SeqCst);
    assert!(matches!(update(&world).unwrap(), Outcome::UpToDate { .. }));
    assert!(world.engine.log().is_empty(), "nothing is started or stopped");
    assert_eq!(world.supply.fetched.load(Ordering::SeqCst), fetched, "nothing is fetched");
    let status = world.agent().status().unwrap();
    assert!(status.sentence.contains("3 of 3 services well"), "{}", status.sentence);
    assert_eq!(status.revisions.len(), 1);
    assert_eq!(status.revisions[0].roles, [Role::Current]);
    assert!(status.revisions[0].stored);
    assert!(status.trouble.is_none());
}

#[test]
fn only_what_changed_is_started_again() {
    let world = installed();
    world.supply.publish(SHOP, &[service("db", "run", "db 1"), service("front", "run", "front 2")]);
    let notes = Notes::default();
    let outcome = world.agent().update(&UpdateOptions::default(), &notes).unwrap();
    assert_eq!(world.engine.log(), ["stop shop/front", "start shop/front"]);
    assert_eq!(running(&world), "shop/db=db 1, shop/front=front 2, web/site=site 1");
    let Outcome::Committed { stopped, previous, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(stopped.iter().map(|one| one.app.as_str()).collect::<Vec<_>>(), ["shop"]);
    assert!(previous.is_some());
    // Twice more: the service that never changed is still the one that was started first.
    for root in ["front 3", "front 4"] {
        world.supply.publish(SHOP, &[service("db", "run", "db 1"), service("front", "run", root)]);
        assert!(committed(&update(&world).unwrap()));
        assert_eq!(world.engine.log(), ["stop shop/front", "start shop/front"]);
    }
    // And after a reboot everything is started where it lives.
    world.reboot();
    assert_eq!(world.agent().resume(&Silently).unwrap(), None);
    assert_eq!(running(&world), "shop/db=db 1, shop/front=front 4, web/site=site 1");
}

#[test]
fn an_app_comes_and_goes_with_the_target() {
    let world = installed();
    assert!(committed(&world.update_to(&[SHOP])));
    assert_eq!(world.engine.log(), ["stop web/site"]);
    assert!(committed(&world.update_to(&[SHOP, WEB])));
    assert_eq!(running(&world), FIRST);
    // An empty target is a target: nothing runs.
    assert!(committed(&world.update_to(&[])));
    assert_eq!(running(&world), "");
}

#[test]
fn a_bad_release_is_taken_back_and_not_tried_again_until_it_changes() {
    for (args, reason) in [
        ("sick", "shop/front is unhealthy"),
        ("ends 3", "shop/front ended with code 3"),
        ("restarts 9", "shop/front ended and was started again 9 times"),
        ("slow 1000", "shop/front is not healthy yet after 20 s"),
        ("broken", "service front: exec format error"),
    ] {
        let world = installed();
        world.supply.publish(SHOP, &[service("db", "run", "db 2"), service("front", args, "front 2")]);
        let outcome = update(&world).unwrap();
        assert!(rolled_back(&outcome).contains(reason), "{outcome:?}");
        assert_eq!(running(&world), FIRST, "exactly what ran before");
        world.engine.log();
        let again = update(&world).unwrap_err();
        assert!(again.line().contains(reason), "{}", again.line());
        assert_eq!(again.class(), Class::RolledBack);
        assert!(world.engine.log().is_empty());
        let status = world.agent().status().unwrap();
        assert!(status.trouble.as_ref().is_some_and(|trouble| trouble.why.contains(reason)), "{status:?}");
        assert!(status.revisions.iter().any(|one| one.roles == [Role::Failed] && one.why.is_some()));
        let failed = world.agent().history().unwrap().into_iter().rfind(|entry| entry.what == What::Failed).unwrap();
        assert!(failed.why.is_some_and(|why| why.contains(reason)));
        // The next release is tried, and the trouble is over.
        world.supply.publish(SHOP, &[service("db", "run", "db 2"), service("front", "run", "front 3")]);
        assert!(committed(&update(&world).unwrap()));
        assert!(world.agent().status().unwrap().trouble.is_none());
    }
}

#[test]
fn a_failed_release_is_tried_again_when_a_person_says_so() {
    let world = installed();
    world.supply.publish(SHOP, &[service("db", "run", "db 1"), service("front", "run", "front 2")]);
    world.engine.set_broken(true);
    // Neither can what ran before be started: the device says so, and goes on trying.
    let error = update(&world).unwrap_err();
    assert!(matches!(error, AgentError::StillReturning { .. }), "{error:?}");
    assert_eq!(world.agent().status().unwrap().underway.phase, "returning");
    world.engine.set_broken(false);
    assert!(matches!(world.agent().resume(&Silently), Ok(Some(Outcome::RolledBack { .. }))));
    assert_eq!(running(&world), FIRST);
    let again = UpdateOptions { again: true, ..UpdateOptions::default() };
    assert!(committed(&world.agent().update(&again, &Silently).unwrap()));
}

#[test]
fn a_staged_revision_waits_and_is_switched_to_without_network() {
    let world = installed();
    world.supply.publish(SHOP, &[service("db", "run", "db 2"), service("front", "run", "front 2")]);
    let stage = UpdateOptions { stage_only: true, ..UpdateOptions::default() };
    let outcome = world.agent().update(&stage, &Silently).unwrap();
    assert!(matches!(outcome, Outcome::Staged { .. }));
    assert_eq!(running(&world), FIRST);
    assert!(world.engine.log().is_empty());
    assert!(world.agent().status().unwrap().revisions.iter().any(|one| one.roles == [Role::Staged] && one.stored));
    // Neither pruning nor a reboot takes it away.
    world.agent().prune().unwrap();
    world.reboot();
    world.agent().resume(&Silently).unwrap();
    assert_eq!(running(&world), FIRST);
    world.supply.offline.store(true, Ordering::SeqCst);
    assert!(committed(&update(&world).unwrap()));
    assert_eq!(running(&world), "shop/db=db 2, shop/front=front 2, web/site=site 1");
}

#[test]
fn an_app_may_ask_to_wait_for_so_long_and_no_longer() {
    let world = installed();
    world.supply.publish(SHOP, &[service("db", "run", "db 1"), service("front", "run", "front 2")]);
    let lock = world.run().join("apps/shop");
    std::fs::create_dir_all(&lock).unwrap();
    std::fs::write(lock.join("update.lock"), "").unwrap();
    let outcome = update(&world).unwrap();
    assert!(matches!(&outcome, Outcome::Held { app, seconds: 3600, .. } if app == "shop"), "{outcome:?}");
    world.clock.pass(Duration::from_secs(3000));
    assert!(matches!(update(&world).unwrap(), Outcome::Held { seconds: 600, .. }));
    assert_eq!(running(&world), FIRST);
    world.clock.pass(Duration::from_secs(600));
    assert!(committed(&update(&world).unwrap()), "its time is over");
    // Another time somebody is there and does not want to wait.
    world.supply.publish(SHOP, &[service("db", "run", "db 1"), service("front", "run", "front 3")]);
    let now = UpdateOptions { now: true, ..UpdateOptions::default() };
    assert!(committed(&world.agent().update(&now, &Silently).unwrap()));
}

#[test]
fn services_start_in_the_order_and_under_the_conditions_they_ask_for() {
    let world = World::new();
    let needs = |name, args, needs| Publish { needs, ..service(name, args, name) };
    world.supply.publish(
        SHOP,
        &[
            needs("web", "run", &["api healthy"]),
            needs("api", "slow 5", &["migrate completed", "db started"]),
            service("migrate", "ends 0", "migrate"),
            service("db", "run", "db"),
        ],
    );
    assert!(committed(&world.update_to(&[SHOP])));
    let log = world.engine.log();
    let at = |name: &str| log.iter().position(|line| line.ends_with(name)).unwrap();
    assert!(at("/migrate") < at("/api") && at("/db") < at("/api") && at("/api") < at("/web"), "{log:?}");
    // A service that is to be started again with the one that it needs.
    world.supply.publish(
        WEB,
        &[needs("front", "run", &["back started restart"]), service("back", "run", "back 1"), service("x", "run", "x")],
    );
    assert!(committed(&world.update_to(&[WEB])));
    world.engine.log();
    world.supply.publish(
        WEB,
        &[needs("front", "run", &["back started restart"]), service("back", "run", "back 2"), service("x", "run", "x")],
    );
    assert!(committed(&update(&world).unwrap()));
    assert_eq!(world.engine.log(), ["stop web/front", "stop web/back", "start web/back", "start web/front"]);
}

#[test]
fn services_that_talk_to_each_other_are_started_again_together() {
    let world = World::new();
    let labels = ["private"];
    let publish = |number: &str| {
        let front = format!("front {number}");
        let db = Publish { labels: &labels, ..service("db", "run", "db 1") };
        let front = Publish { labels: &labels, ..service("front", "run", &front) };
        world.supply.publish(SHOP, &[db, front, service("log", "run", "log 1")]);
    };
    publish("1");
    assert!(committed(&world.update_to(&[SHOP])));
    world.engine.log();
    publish("2");
    assert!(committed(&update(&world).unwrap()));
    let log = world.engine.log();
    assert_eq!(log.len(), 4, "db and front, each once: {log:?}");
    assert!(log.iter().all(|line| !line.ends_with("/log")), "{log:?}");
}

#[test]
fn what_a_service_waits_for_in_vain_fails_the_release() {
    for (args, condition, reason) in [
        ("slow 100000", "db healthy", "waits for db, which is not ready after"),
        ("sick", "db healthy", "waits for db, which is unhealthy"),
        ("ends 7", "db completed", "waits for db, which ended with code 7"),
    ] {
        let world = installed();
        let needs = [condition];
        let front = Publish { needs: &needs, ..service("front", "run", "front 2") };
        world.supply.publish(SHOP, &[front, service("db", args, "db 2")]);
        let outcome = update(&world).unwrap();
        assert!(rolled_back(&outcome).contains(reason), "{outcome:?}");
        assert_eq!(running(&world), FIRST);
    }
}

#[test]
fn what_the_engine_does_not_do_is_refused_before_anything_is_fetched() {
    let world = installed();
    world.engine.refuse("privileged");
    let labels = ["privileged"];
    let front = Publish { labels: &labels, ..service("front", "run", &"front 2 ".repeat(1000)) };
    world.supply.publish(SHOP, &[front]);
    let before = world.supply.fetched.load(Ordering::SeqCst);
    let error = update(&world).unwrap_err();
    assert!(error.to_string().contains("privileged (it cannot)"), "{error}");
    assert!(world.supply.fetched.load(Ordering::SeqCst) - before < 1000, "documents only");
    assert_eq!(running(&world), FIRST);
    assert!(world.agent().status().unwrap().trouble.is_some_and(|trouble| trouble.why.contains("privileged")));
    assert!(matches!(world.agent().check(&Silently), Err(AgentError::Unsupported { .. })));
}

#[test]
fn what_does_not_fit_is_refused_and_said() {
    let world = installed();
    world.supply.publish(SHOP, &[service("front", "run", "front 2")]);
    world.supply.too_large.store(true, Ordering::SeqCst);
    let checked = world.agent().check(&Silently).unwrap();
    assert!(checked.planned.unwrap().refusal.is_some());
    let error = update(&world).unwrap_err();
    assert_eq!((error.class(), error.to_string().contains("3 MiB too little")), (Class::DoesNotFit, true));
    assert_eq!(running(&world), FIRST);
    assert!(world.agent().status().unwrap().trouble.is_some());
    world.supply.too_large.store(false, Ordering::SeqCst);
    assert!(committed(&update(&world).unwrap()), "it is no failure of the revision");
    assert!(world.agent().status().unwrap().trouble.is_none());
}

#[test]
fn back_by_hand_is_back_until_another_release() {
    let world = installed();
    assert!(matches!(world.agent().rollback(None, &Silently), Err(AgentError::NothingBefore)));
    world.supply.publish(SHOP, &[service("db", "run", "db 2"), service("front", "run", "front 2")]);
    assert!(committed(&update(&world).unwrap()));
    world.supply.offline.store(true, Ordering::SeqCst);
    assert!(committed(&world.agent().rollback(None, &Silently).unwrap()));
    assert_eq!(running(&world), FIRST);
    world.supply.offline.store(false, Ordering::SeqCst);
    assert!(matches!(update(&world), Err(AgentError::Refused(_))), "the daemon does not bring it back");
    assert_eq!(running(&world), FIRST);
    // Forward again by hand.
    assert!(committed(&world.agent().rollback(None, &Silently).unwrap()));
    assert_eq!(running(&world), "shop/db=db 2, shop/front=front 2, web/site=site 1");
    world.supply.publish(SHOP, &[service("db", "run", "db 2"), service("front", "run", "front 3")]);
    assert!(committed(&update(&world).unwrap()));
}

#[test]
fn a_way_back_that_cannot_be_made_ready_says_nothing_against_what_runs() {
    let world = installed();
    world.supply.publish(SHOP, &[service("front", "run", "front 2")]);
    assert!(committed(&update(&world).unwrap()));
    world.engine.deaf.store(true, Ordering::SeqCst);
    assert!(matches!(world.agent().rollback(None, &Silently), Err(AgentError::Engine(_))));
    world.engine.deaf.store(false, Ordering::SeqCst);
    let revisions = world.agent().status().unwrap().revisions;
    assert_eq!(revisions[0].roles, [Role::Current]);
    assert!(matches!(update(&world).unwrap(), Outcome::UpToDate { .. }));
}

#[test]
fn current_previous_and_pinned_revisions_are_kept() {
    let world = installed();
    let first = world.agent().pin(None).unwrap();
    for number in 2..=5 {
        world.supply.publish(SHOP, &[service("front", "run", &format!("front {number}"))]);
        assert!(committed(&update(&world).unwrap()));
    }
    let stored = |world: &World| {
        let status = world.agent().status().unwrap();
        status.revisions.iter().filter(|one| one.stored).count()
    };
    assert_eq!(stored(&world), 3, "current, previous, pinned");
    let digits = first.short();
    assert!(committed(&world.agent().rollback(Some(&digits), &Silently).unwrap()));
    assert_eq!(running(&world), FIRST);
    assert!(matches!(world.agent().rollback(Some("0123456789"), &Silently), Err(AgentError::NoSuchRevision(_))));
    world.supply.publish(SHOP, &[service("front", "run", "front 6")]);
    assert!(committed(&update(&world).unwrap()));
    world.supply.publish(SHOP, &[service("front", "run", "front 7")]);
    assert!(committed(&update(&world).unwrap()));
    world.agent().unpin(Some(&digits)).unwrap();
    let plan = world.agent().prune_plan().unwrap();
    assert_eq!(plan.revisions, [first]);
    assert!(!plan.plan.objects.is_empty());
    assert_eq!(stored(&world), 3, "a plan removes nothing");
    let (_, pruned) = world.agent().prune().unwrap();
    assert_eq!(pruned.objects, plan.plan.objects.len());
    assert_eq!(stored(&world), 2);
}
