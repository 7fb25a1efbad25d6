//! From Y, Cb and Cr to levels of red, green and blue, and from levels to what a model takes in.

use crate::model::{Colour, Input};
use crate::picture::{ColourRange, Picture, shares_in_luma};

/// How planes become RGB (ITU-R BT.601 and BT.709, section 3 each), for one picture.
#[derive(Debug)]
pub(super) struct Colours {
    /// Black, less 128.
    black: f32,
    luma_gain: f32,
    red: f32,
    green: (f32, f32),
    blue: f32,
}

impl Colours {
    pub(super) fn of(picture: &Picture) -> Self {
        let (kr, kb) = shares_in_luma(picture.luma.height);
        let (black, luma_gain, chroma_gain) = match picture.range {
            ColourRange::Full => (0.0, 1.0, 1.0),
            ColourRange::Limited => (16.0, 255.0 / 219.0, 255.0 / 224.0),
        };
        let (red, blue) = (2.0 * (1.0 - kr) * chroma_gain, 2.0 * (1.0 - kb) * chroma_gain);
        let green = 1.0 - kr - kb;
        Self { black: black - 128.0, luma_gain, red, green: (blue * kb / green, red * kr / green), blue }
    }

    /// Y, Cb and Cr, each less 128, become red, green and blue, 0 to 255.
    pub(super) fn convert(&self, [luma, blue, red]: &mut [Vec<f32>; 3]) {
        for ((first, second), third) in luma.iter_mut().zip(blue).zip(red) {
            let y = (*first - self.black) * self.luma_gain;
            let (cb, cr) = (*second, *third);
            *first = level(y + self.red * cr);
            *second = level(y - self.green.0 * cb - self.green.1 * cr);
            *third = level(y + self.blue * cb);
        }
    }
}

/// What can be shown.
fn level(light: f32) -> f32 {
    light.clamp(0.0, 255.0)
}

/// What levels become in a model's input.
#[derive(Debug)]
pub(super) struct Light {
    /// For each channel, in the input's order, what a level is multiplied with, and what is added then.
    channels: [(f32, f32); 3],
}

impl Light {
    pub(super) fn of(input: &Input) -> Self {
        let (lowest, highest) = input.range;
        let channels = std::array::from_fn(|channel| {
            let (mean, deviation) = (input.mean[channel], input.deviation[channel]);
            ((highest - lowest) / 255.0 / deviation, (lowest - mean) / deviation)
        });
        Self { channels }
    }

    /// What levels of a channel become.
    pub(super) fn of_channel(&self, channel: usize) -> impl Fn(f32) -> f32 + use<> {
        let (scale, offset) = self.channels.get(channel).copied().unwrap_or((1.0, 0.0));
        move |level| level * scale + offset
    }
}

/// Which of red, green and blue is each channel.
pub(super) const fn order(colour: Colour) -> [usize; 3] {
    match colour {
        Colour::Rgb => [0, 1, 2],
        Colour::Bgr => [2, 1, 0],
    }
}
