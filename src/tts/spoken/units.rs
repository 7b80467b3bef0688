//! What units and currencies are called in English.

/// A name for one and one for many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unit {
    one: &'static str,
    many: &'static str,
}

impl Unit {
    pub(super) fn name(self, one: bool) -> &'static str {
        if one { self.one } else { self.many }
    }
}

/// A currency, and the hundredth part of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Currency {
    pub(super) unit: Unit,
    pub(super) part: Option<Unit>,
}

/// The currency of a sign or code.
pub(super) fn money(sign: &str) -> Option<Currency> {
    let of = |one, many, part: Option<(&'static str, &'static str)>| Currency {
        unit: Unit { one, many },
        part: part.map(|(one, many)| Unit { one, many }),
    };
    let cents = Some(("cent", "cents"));
    Some(match sign {
        "$" | "US$" | "USD" => of("dollar", "dollars", cents),
        "C$" | "CA$" => of("Canadian dollar", "Canadian dollars", cents),
        "A$" | "AU$" => of("Australian dollar", "Australian dollars", cents),
        "€" | "EUR" => of("euro", "euros", cents),
        "£" | "GBP" => of("pound", "pounds", Some(("penny", "pence"))),
        "¥" | "JPY" => of("yen", "yen", None),
        "₹" => of("rupee", "rupees", Some(("paisa", "paise"))),
        "₩" => of("won", "won", None),
        "CHF" => of("Swiss franc", "Swiss francs", None),
        _ => return None,
    })
}

/// `k` → "thousand"; a word stays.
pub(super) fn magnitude(size: &str) -> &str {
    match size {
        "k" | "K" => "thousand",
        "m" | "M" => "million",
        "B" | "bn" => "billion",
        "T" | "tn" => "trillion",
        word => word,
    }
}

/// Spellings, name of one, name of many. Letters that are words more often (`in`, `us`, `a`) are not here.
const UNITS: &[(&[&str], &str, &str)] = &[
    (&["km"], "kilometer", "kilometers"),
    (&["m"], "meter", "meters"),
    (&["cm"], "centimeter", "centimeters"),
    (&["mm"], "millimeter", "millimeters"),
    (&["µm", "μm"], "micrometer", "micrometers"),
    (&["nm"], "nanometer", "nanometers"),
    (&["mi"], "mile", "miles"),
    (&["ft"], "foot", "feet"),
    (&["yd", "yds"], "yard", "yards"),
    (&["km/h", "kmh", "kph"], "kilometer per hour", "kilometers per hour"),
    (&["mph"], "mile per hour", "miles per hour"),
    (&["m/s"], "meter per second", "meters per second"),
    (&["km²", "km2"], "square kilometer", "square kilometers"),
    (&["m²", "m2", "sqm"], "square meter", "square meters"),
    (&["cm²", "cm2"], "square centimeter", "square centimeters"),
    (&["ft²", "ft2", "sq ft"], "square foot", "square feet"),
    (&["m³", "m3"], "cubic meter", "cubic meters"),
    (&["ha"], "hectare", "hectares"),
    (&["kg"], "kilogram", "kilograms"),
    (&["g"], "gram", "grams"),
    (&["mg"], "milligram", "milligrams"),
    (&["µg", "μg", "mcg"], "microgram", "micrograms"),
    (&["lb", "lbs"], "pound", "pounds"),
    (&["oz"], "ounce", "ounces"),
    (&["l", "L"], "liter", "liters"),
    (&["ml", "mL"], "milliliter", "milliliters"),
    (&["°C", "℃", "ºC"], "degree Celsius", "degrees Celsius"),
    (&["°F", "℉", "ºF"], "degree Fahrenheit", "degrees Fahrenheit"),
    (&["°"], "degree", "degrees"),
    (&["kB", "KB"], "kilobyte", "kilobytes"),
    (&["MB"], "megabyte", "megabytes"),
    (&["GB"], "gigabyte", "gigabytes"),
    (&["TB"], "terabyte", "terabytes"),
    (&["PB"], "petabyte", "petabytes"),
    (&["KiB"], "kibibyte", "kibibytes"),
    (&["MiB"], "mebibyte", "mebibytes"),
    (&["GiB"], "gibibyte", "gibibytes"),
    (&["TiB"], "tebibyte", "tebibytes"),
    (&["MB/s"], "megabyte per second", "megabytes per second"),
    (&["GB/s"], "gigabyte per second", "gigabytes per second"),
    (&["kbps", "Kbps", "kbit/s"], "kilobit per second", "kilobits per second"),
    (&["Mbps", "Mbit/s"], "megabit per second", "megabits per second"),
    (&["Gbps", "Gbit/s"], "gigabit per second", "gigabits per second"),
    (&["ns"], "nanosecond", "nanoseconds"),
    (&["µs", "μs"], "microsecond", "microseconds"),
    (&["ms"], "millisecond", "milliseconds"),
    (&["s", "sec", "secs"], "second", "seconds"),
    (&["min", "mins"], "minute", "minutes"),
    (&["h", "hr", "hrs"], "hour", "hours"),
    (&["Hz"], "hertz", "hertz"),
    (&["kHz"], "kilohertz", "kilohertz"),
    (&["MHz"], "megahertz", "megahertz"),
    (&["GHz"], "gigahertz", "gigahertz"),
    (&["W"], "watt", "watts"),
    (&["mW"], "milliwatt", "milliwatts"),
    (&["kW"], "kilowatt", "kilowatts"),
    (&["MW"], "megawatt", "megawatts"),
    (&["GW"], "gigawatt", "gigawatts"),
    (&["Wh"], "watt hour", "watt hours"),
    (&["kWh"], "kilowatt hour", "kilowatt hours"),
    (&["MWh"], "megawatt hour", "megawatt hours"),
    (&["V"], "volt", "volts"),
    (&["mV"], "millivolt", "millivolts"),
    (&["kV"], "kilovolt", "kilovolts"),
    (&["mA"], "milliampere", "milliamperes"),
    (&["mAh"], "milliampere hour", "milliampere hours"),
    (&["Pa"], "pascal", "pascals"),
    (&["hPa"], "hectopascal", "hectopascals"),
    (&["kPa"], "kilopascal", "kilopascals"),
    (&["dB"], "decibel", "decibels"),
    (&["px"], "pixel", "pixels"),
    (&["dpi"], "dot per inch", "dots per inch"),
    (&["fps"], "frame per second", "frames per second"),
    (&["rpm"], "turn per minute", "turns per minute"),
    (&["kJ"], "kilojoule", "kilojoules"),
    (&["kcal"], "kilocalorie", "kilocalories"),
    (&["ppm"], "part per million", "parts per million"),
];

/// The unit of a spelling.
pub(super) fn unit(spelling: &str) -> Option<Unit> {
    let (_, one, many) = UNITS.iter().find(|(spellings, ..)| spellings.contains(&spelling))?;
    Some(Unit { one, many })
}

/// All spellings as a regular expression, longer ones first.
pub(super) fn unit_pattern() -> String {
    let mut all: Vec<&str> = UNITS.iter().flat_map(|(spellings, ..)| *spellings).copied().collect();
    all.sort_by_key(|spelling| std::cmp::Reverse(spelling.len()));
    format!("(?:{})", all.join("|"))
}
