//! The binary starts, explains itself and refuses nonsense.

use super::support::run::{Place, qlc};

#[test]
fn help_names_the_commands() {
    let ran = qlc(&["--help"]).ended(0);
    for command in [
        "compact", "verify", "query", "inspect", "demo", "collect", "record", "replay",
    ] {
        assert!(ran.stdout.contains(command), "{command} is not in\n{ran}");
    }
}

#[test]
fn an_unknown_mode_is_a_mistake_in_usage() {
    let place = Place::new();
    let ran = place
        .qlc(&["compact", "--mode", "sideways"])
        .ended(2)
        .says("sideways");
    assert_eq!(ran.stdout, "");
    assert!(!place.archive().exists());
}
