//! The binary starts and refuses nonsense.

use super::support::run::Place;

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
