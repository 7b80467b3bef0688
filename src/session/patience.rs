//! stub
use std::time::Duration;
/// stub
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// s
    Sentence,
    /// u
    Unclear,
    /// o
    Open,
}
/// stub
pub fn closing(text: &str) -> Closing {
    if text.ends_with('.') { Closing::Sentence } else { Closing::Unclear }
}
/// stub
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// s
    pub sentence: Duration,
    /// u
    pub unclear: Duration,
    /// o
    pub open: Duration,
}
impl Patience {
    /// stub
    pub fn server_vad(base: Duration) -> Self {
        Self { sentence: base.mul_f64(0.8), unclear: base, open: base.mul_f64(1.6) }
    }
    fn ms(a: u64, b: u64, c: u64) -> Self {
        Self {
            sentence: Duration::from_millis(a),
            unclear: Duration::from_millis(b),
            open: Duration::from_millis(c),
        }
    }
    /// stub
    pub fn low() -> Self {
        Self::ms(500, 1200, 4000)
    }
    /// stub
    pub fn medium() -> Self {
        Self::ms(350, 800, 2000)
    }
    /// stub
    pub fn high() -> Self {
        Self::ms(250, 500, 1000)
    }
    /// stub
    pub fn wait(&self, text: Option<&str>) -> Duration {
        match text.map(closing) {
            Some(Closing::Sentence) => self.sentence,
            Some(Closing::Open) => self.open,
            _ => self.unclear,
        }
    }
}
