//! Letters and marks of scripts: which stand without spaces, which end a sentence.

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

pub(super) fn is_end_mark(c: char) -> bool {
    ".!?…。！？．｡؟।‼⁉⁈".contains(c)
}

/// Marks that no space follows.
pub(super) fn is_full_width(c: char) -> bool {
    "。！？．｡、，；：।".contains(c)
}

/// Letters of scripts that are written without spaces: Chinese, Japanese, Thai, Lao, Burmese, Khmer.
pub(super) fn is_unspaced(c: char) -> bool {
    is_ideographic(c)
        || matches!(c, '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}')
}

/// Chinese characters and Japanese syllables.
pub(super) fn is_ideographic(c: char) -> bool {
    is_kana(c)
        || matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
            | '\u{20000}'..='\u{3ffff}')
}

fn is_kana(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{ff66}'..='\u{ff9f}')
}

pub(super) fn is_mark(c: char) -> bool {
    c.general_category_group() == GeneralCategoryGroup::Mark
}
