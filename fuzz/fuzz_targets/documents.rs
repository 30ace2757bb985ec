//! Any bytes as `meta.json`, as a receipt and as `error.json`: refused, or read to what is written
//! as it was read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use qlc::model::{
    meta::{self, Meta},
    quarantine::ErrorFile,
    receipt::Receipt,
};

fuzz_target!(|bytes: &[u8]| {
    let findings = meta::findings(bytes);
    match Meta::from_json(bytes) {
        Ok(read) => assert_eq!(Meta::from_json(&read.to_json().unwrap()).unwrap(), read),
        Err(_) => assert!(
            !findings.is_empty(),
            "unreadable, and nothing is wrong with it"
        ),
    }
    if let Ok(read) = Receipt::from_json(bytes) {
        let _ = read.findings();
        assert_eq!(Receipt::from_json(&read.to_json().unwrap()).unwrap(), read);
    }
    if let Ok(read) = ErrorFile::from_json(bytes) {
        assert_eq!(
            ErrorFile::from_json(&read.to_json().unwrap()).unwrap(),
            read
        );
    }
});
