//! Tiers: names for weights, which keys refer to.

use super::error::InvalidSetting;
use super::raw::Count;
use crate::pool::{Tier, Weight};
use std::collections::BTreeMap;

/// The tier of whoever names none.
const DEFAULT: &str = "default";

/// All tiers there are: those that were set up, and the default one.
#[derive(Debug)]
pub(super) struct Tiers(BTreeMap<String, Weight>);

impl Tiers {
    /// The tiers of a `[pool.tiers]` table.
    ///
    /// # Errors
    ///
    /// A tier without a name, or with a weight that is none.
    pub(super) fn read(raw: &BTreeMap<String, Count>) -> Result<Self, InvalidSetting> {
        let mut tiers = BTreeMap::from([(DEFAULT.to_owned(), Weight::default())]);
        for (name, count) in raw {
            tiers.insert(name.clone(), weight(name, count)?);
        }
        Ok(Self(tiers))
    }

    /// The tier of this name, or the default one.
    ///
    /// # Errors
    ///
    /// When there is no such tier; the error says which there are.
    pub(super) fn named(&self, name: Option<&str>) -> Result<Tier, InvalidSetting> {
        let name = name.unwrap_or(DEFAULT);
        let weight = self.0.get(name).copied().ok_or_else(|| self.unknown(name))?;
        Ok(Tier { name: name.into(), weight })
    }

    fn unknown(&self, name: &str) -> InvalidSetting {
        let known = self.0.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        InvalidSetting::new("key.tier", name, format!("one of the tiers that are set up: {known}"))
    }
}

fn weight(name: &str, count: &Count) -> Result<Weight, InvalidSetting> {
    let (shown, weight) = match count {
        Count::Number(number) => (number.to_string(), u32::try_from(*number).ok()),
        Count::Text(text) => (text.clone(), text.trim().parse().ok()),
    };
    let weight = weight.and_then(Weight::new).filter(|_| !name.is_empty());
    weight.ok_or_else(|| {
        let expected = format!("a name and a weight from 1 to {}, as in gold=4", Weight::MAX);
        InvalidSetting::new("pool.tiers", format!("{name}={shown}"), expected)
    })
}
