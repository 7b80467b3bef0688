//! One chart as SVG. Colours are names here: the page's style gives each its shade, in light and in dark.

use super::escape;
use super::scale::{Scale, written};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, Ranged, ValueFormatter};
use plotters::drawing::DrawingAreaErrorKind;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Width and height. Small, so that the letters are large enough on a phone.
const SIZE: (u32, u32) = (420, 300);

/// Of lines, by number. The page's style knows them by these values.
const LINES: [RGBColor; 3] =
    [RGBColor(0x1F, 0x6F, 0xB2), RGBColor(0xD0, 0x5A, 0x1E), RGBColor(0x80, 0x4A, 0xA8)];
const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
const GRID: RGBColor = RGBColor(0xDD, 0xDD, 0xDD);
const PAPER: RGBColor = RGBColor(0xFF, 0xFF, 0xFF);
const LIMIT: RGBColor = RGBColor(0xC6, 0x28, 0x28);
const KNEE: RGBColor = RGBColor(0x2E, 0x7D, 0x32);

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, Axis>>;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

type Failure = DrawingAreaErrorKind<std::io::Error>;

/// A chart of some quantity over the number of people.
pub(super) struct Panel {
    pub(super) title: &'static str,
    /// Of the vertical axis.
    pub(super) unit: &'static str,
    pub(super) scale: Scale,
    pub(super) lines: Vec<Line>,
    /// Where the quantity may not go beyond.
    pub(super) limit: Option<f64>,
    /// The number of people at which to draw the knee.
    pub(super) knee: Option<u32>,
}

/// One line of a chart.
pub(super) struct Line {
    pub(super) name: &'static str,
    /// Which of the lines' colours.
    pub(super) color: usize,
    /// The number of people, the value, and whether that load passed.
    pub(super) points: Vec<(u32, f64, bool)>,
}

impl Panel {
    /// The chart, with a sentence for those who do not see it.
    pub(super) fn svg(&self) -> String {
        let mut drawn = String::new();
        self.draw(&mut drawn).expect("drawing to memory does not fail");
        let (_, inside) = drawn.split_once('>').expect("it begins with the tag that opens it");
        let (width, height) = SIZE;
        let label = escape(&self.told());
        format!("<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{label}\">{inside}")
    }

    /// The chart in words.
    fn told(&self) -> String {
        let lines = self.lines.iter().filter_map(|Line { name, points, .. }| {
            let (first, last) = (points.first()?.1, points.last()?.1);
            Some(format!("{name} {} to {}", written(first.round()), written(last.round())))
        });
        let lines: Vec<_> = lines.collect();
        format!("{} in {} by number of people: {}", self.title, self.unit, lines.join(", "))
    }

    fn draw(&self, target: &mut String) -> Result<(), Failure> {
        let root = SVGBackend::with_string(target, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin_top(22)
            .margin_right(14)
            .margin_left(2)
            .x_label_area_size(40)
            .y_label_area_size(56)
            .build_cartesian_2d(self.people(), self.values())?;
        self.draw_axes(&mut chart)?;
        self.draw_bounds(&mut chart)?;
        for line in &self.lines {
            line.draw(&mut chart)?;
        }
        self.name_knee(&root, &chart)?;
        root.present()
    }

    fn draw_axes(&self, chart: &mut Chart<'_, '_>) -> Result<(), Failure> {
        let mut mesh = chart.configure_mesh();
        mesh.disable_x_mesh().light_line_style(TRANSPARENT).bold_line_style(GRID).axis_style(INK);
        mesh.x_desc("people connected").y_desc(self.unit).axis_desc_style(letters(13, INK));
        mesh.x_label_style(letters(12, INK)).y_label_style(letters(12, INK));
        mesh.x_label_formatter(&|n| written(*n)).y_label_formatter(&|value| written(*value));
        mesh.draw()
    }

    /// The limit and the knee, as dashes from end to end.
    fn draw_bounds(&self, chart: &mut Chart<'_, '_>) -> Result<(), Failure> {
        let (x, y) = (self.people(), self.values());
        if let Some(limit) = self.limit {
            let ends = [(x.start(), limit), (x.end(), limit)];
            chart.draw_series(DashedLineSeries::new(ends, 6, 4, LIMIT.stroke_width(1)))?;
        }
        if let Some(knee) = self.knee.map(f64::from) {
            let ends = [(knee, y.start()), (knee, y.end())];
            chart.draw_series(DashedLineSeries::new(ends, 3, 3, KNEE.stroke_width(1)))?;
        }
        Ok(())
    }

    /// Writes the knee above its line, where no other line is.
    fn name_knee(&self, root: &Area<'_>, chart: &Chart<'_, '_>) -> Result<(), Failure> {
        let Some(knee) = self.knee.map(f64::from) else { return Ok(()) };
        let (at, top) = chart.backend_coord(&(knee, self.values().end()));
        let style = letters(12, KNEE).pos(Pos::new(HPos::Center, VPos::Bottom));
        root.draw(&Text::new(format!("knee {}", written(knee)), (at, top - 4), style))
    }

    fn people(&self) -> Axis {
        let people = self.lines.iter().flat_map(|line| line.points.iter().map(|(n, ..)| f64::from(*n)));
        let scale = Scale::Linear { finest: 1.0 };
        Axis { scale, ticks: scale.ticks(people.chain(self.knee.map(f64::from))) }
    }

    fn values(&self) -> Axis {
        let values = self.lines.iter().flat_map(|line| line.points.iter().map(|(_, value, _)| *value));
        Axis { scale: self.scale, ticks: self.scale.ticks(values.chain(self.limit)) }
    }
}

impl Line {
    fn draw(&self, chart: &mut Chart<'_, '_>) -> Result<(), Failure> {
        let color = LINES[self.color % LINES.len()];
        let points = || self.points.iter().map(|(n, value, passed)| ((f64::from(*n), *value), *passed));
        chart.draw_series(LineSeries::new(points().map(|(point, _)| point), color.stroke_width(2)))?;
        // Of a load that did not pass, the point is hollow.
        chart.draw_series(points().map(|(point, passed)| {
            let inside = if passed { color } else { PAPER };
            EmptyElement::at(point)
                + Circle::new((0, 0), 4, color.filled())
                + Circle::new((0, 0), 2, inside.filled())
        }))?;
        Ok(())
    }
}

/// Letters of that size.
fn letters(size: u32, color: RGBColor) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&color)
}

/// An axis with exactly these ticks.
#[derive(Clone)]
struct Axis {
    scale: Scale,
    ticks: Vec<f64>,
}

impl Axis {
    fn start(&self) -> f64 {
        self.ticks.first().copied().unwrap_or(0.0)
    }

    fn end(&self) -> f64 {
        self.ticks.last().copied().unwrap_or(1.0)
    }

    /// Where a value lies, 0 to 1.
    fn part(&self, value: f64) -> f64 {
        let (start, end) = (self.start(), self.end());
        match self.scale {
            Scale::Linear { .. } => (value - start) / (end - start),
            Scale::Logarithmic => (value / start).ln() / (end / start).ln(),
        }
    }
}

impl Ranged for Axis {
    type FormatOption = plotters::coord::ranged1d::NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        from + ((to - from) as f64 * self.part(*value)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.start()..self.end()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format(value: &f64) -> String {
        written(*value)
    }
}
