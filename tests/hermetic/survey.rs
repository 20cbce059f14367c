//! Looking for a free subnet.

use sidecar_bundle::Cause;

use crate::fake::{ELSEWHERE, Fake, plan};
use crate::texts::{UNREACHABLE, refuse};

#[test]
fn a_survey_is_few_commands_and_reads_all_of_a_thousand_networks() {
    let fake = Fake::new();
    fake.on("info", ELSEWHERE);
    let addresses = plan();
    let taken = addresses.subnet();
    fake.on("network-ls", "none; printf '%064d\\n' 1");
    // The one that matters comes first, before two million bytes of others.
    let network = r#"{"Id":"%064d","Name":"n%d","Driver":"bridge","Labels":{"x":"%01900d"},"IPAM":{"Config":[{"Subnet":"%s"}]}}"#;
    fake.on(
        "network-inspect",
        &format!(
            "awk 'BEGIN {{ printf \"[\"; for (n = 0; n < 1100; n++) printf \"%s{}\", n ? \",\" : \"\", n, n, 0, n ? \"192.0.2.0/30\" : \"{taken}\"; print \"]\" }}'",
            network.replace('"', "\\\"")
        ),
    );
    let engine = fake.engine();
    let moved = addresses.clone().in_free_subnet(&engine).unwrap();
    assert_ne!(moved.subnet(), taken);
    assert_eq!(fake.operations(), ["network ls", "network inspect"]);
    addresses.in_free_subnet(&engine).unwrap();
    assert_eq!(fake.operations()[2..], ["network ls", "network inspect"]);
    assert_eq!(fake.infos(), 3, "its place is asked once");
}

#[test]
fn a_failed_survey_hands_the_plan_back() {
    let fake = Fake::new();
    fake.on("network-ls", &refuse(1, UNREACHABLE));
    let failed = plan().in_free_subnet(&fake.engine()).unwrap_err();
    assert_eq!(
        fake.chain(&failed),
        [
            "the engine could not be asked for its networks".to_owned(),
            format!("docker network ls ended with exit status: 1: {UNREACHABLE}"),
        ]
    );
    assert_eq!(failed.error().cause(), Some(Cause::EngineUnreachable));
    assert_eq!(failed.into_state(), plan());
}
