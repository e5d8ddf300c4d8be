//! What must hold for any bytes, and for any good quote.

use super::tests::{NOON, record, settings};
use super::*;
use crate::model::{EventTime, Source, rejection};
use proptest::prelude::*;
use rust_decimal::Decimal;
use std::borrow::Cow;

fn any_quote() -> impl Strategy<Value = Quote<'static>> {
    let symbol = proptest::collection::vec(any::<char>(), 1..64).prop_map(String::from_iter);
    let price = (1..10_i128.pow(28), 0..=28_u32);
    let volume = (0..10_i128.pow(28), 0..=28_u32);
    (symbol, price, volume, -62_167_219_200_000..=NOON).prop_map(|(symbol, price, volume, ms)| Quote {
        symbol: Cow::Owned(symbol),
        last_price: Decimal::from_i128_with_scale(price.0, price.1),
        volume: Decimal::from_i128_with_scale(volume.0, volume.1),
        event_time: EventTime(ms),
    })
}

/// JSON-like text: bytes that get further than random ones.
fn any_text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just(r#""symbol":"#.to_owned()),
        Just(r#""last_price":"#.to_owned()),
        Just(r#""volume":"#.to_owned()),
        Just(r#""timestamp":"#.to_owned()),
        Just(r#""2026-11-22T14:00:00Z""#.to_owned()),
        "[-+0-9.eE]{1,40}",
        "[\\[\\]{},:\"]",
        "\"(\\\\u[0-9a-fA-F]{4}|[A-Z\\\\])*\"",
        "\\PC{0,4}",
    ];
    let parts = proptest::collection::vec(part, 0..24);
    (parts, any::<bool>()).prop_map(
        |(parts, object)| {
            if object { format!("{{{}}}", parts.join("")) } else { parts.join(",") }
        },
    )
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            proptest::collection::btree_map(any::<String>(), inner, 0..5)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

/// What must hold for the verdict on any record whatever.
fn hold_for(record: &Record<'_>) -> Result<(), TestCaseError> {
    let verdict = judge(record, &settings());
    prop_assert_eq!(&verdict, &judge(record, &settings()));
    match verdict {
        Verdict::Accepted { quote, .. } => {
            prop_assert_eq!(Some(quote.symbol.as_bytes()), record.key);
            prop_assert!(quote.last_price > Decimal::ZERO && quote.volume >= Decimal::ZERO);
            let value: serde_json::Value = serde_json::from_slice(record.value.unwrap()).unwrap();
            prop_assert_eq!(value["symbol"].as_str(), Some(&*quote.symbol));
        }
        Verdict::Removed { symbol } => {
            prop_assert_eq!((record.key, record.value), (Some(symbol.as_bytes()), None));
        }
        Verdict::Rejected(rejection) => {
            prop_assert!(!rejection.broken.is_empty());
            let source = Source { partition: record.partition, offset: record.offset };
            let header = rejection.to_header("staging", source);
            prop_assert!(header.len() <= rejection::MAX_HEADER_BYTES);
            let evidence = Rejection::from_header(&header).unwrap();
            prop_assert_eq!((evidence.rejection, evidence.truncated), (rejection, 0));
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_have_one_verdict(
        key in any::<Option<Vec<u8>>>(),
        value in proptest::option::weighted(0.9, proptest::collection::vec(any::<u8>(), 0..300)),
        kafka_time in any::<Option<i64>>(),
    ) {
        hold_for(&Record { kafka_time, ..record(key.as_deref(), value.as_deref()) })?;
    }

    #[test]
    fn any_text_has_one_verdict(key in "[A-Z]{0,3}", value in any_text()) {
        hold_for(&record(Some(key.as_bytes()), Some(value.as_bytes())))?;
    }

    #[test]
    fn a_damaged_quote_has_one_verdict(quote in any_quote(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut value = quote.to_json();
        let at = at.index(value.len());
        value[at] = byte;
        hold_for(&record(Some(quote.symbol.as_bytes()), Some(&value)))?;
    }

    #[test]
    fn every_good_quote_passes_with_each_of_its_digits(quote in any_quote()) {
        let value = quote.to_json();
        let verdict = judge(&record(Some(quote.symbol.as_bytes()), Some(&value)), &settings());
        let Verdict::Accepted { quote: read, suspects } = verdict else { panic!("{verdict:?}") };
        prop_assert!(suspects.is_empty());
        prop_assert_eq!(&read.to_json(), &value);
        for (read, made) in [(read.last_price, quote.last_price), (read.volume, quote.volume)] {
            prop_assert_eq!((read.mantissa(), read.scale()), (made.mantissa(), made.scale()));
        }
        prop_assert_eq!(&read, &quote);
    }

    #[test]
    fn unknown_fields_are_ignored(quote in any_quote(), name in "[a-z]{0,5}( |é|\")?", json in any_json()) {
        let extra = serde_json::json!({ name: json }).to_string();
        let extra = extra.strip_suffix('}').unwrap();
        let value = [extra.as_bytes(), b",", &quote.to_json()[1..]].concat();
        let verdict = judge(&record(Some(quote.symbol.as_bytes()), Some(&value)), &settings());
        prop_assert!(matches!(&verdict, Verdict::Accepted { quote: read, .. } if read == &quote), "{verdict:?}");
    }
}
