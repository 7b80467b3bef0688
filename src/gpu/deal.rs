//! How many slots each of several devices gets. Pure.

/// Deals `total` slots to devices that can have at most so many each: one to each in turn, as cards are dealt.
pub fn deal(total: u16, most: &[u16]) -> Vec<u16> {
    let mut dealt = vec![0; most.len()];
    let mut left = total;
    while left > 0 {
        let before = left;
        for (hand, most) in dealt.iter_mut().zip(most) {
            if left > 0 && *hand < *most {
                *hand += 1;
                left -= 1;
            }
        }
        if left == before {
            break;
        }
    }
    dealt
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn devices_get_their_slots_in_turn_until_they_are_full() {
        let cases: [(u16, &[u16], &[u16]); 6] = [
            (5, &[10, 10], &[3, 2]),
            (5, &[10, 1], &[4, 1]),
            (99, &[3, 4], &[3, 4]),
            (1, &[3, 4], &[1, 0]),
            (7, &[8], &[7]),
            (7, &[], &[]),
        ];
        for (total, most, expected) in cases {
            assert_eq!(deal(total, most), expected, "{total} to {most:?}");
        }
    }

    proptest! {
        /// Fails when a slot is lost, dealt twice, or dealt to a full device, and when one has two more than another
        /// that has room.
        #[test]
        fn no_slot_is_lost_while_a_device_has_room(total in 0_u16..200, most in prop::collection::vec(0_u16..40, 1..6)) {
            let dealt = deal(total, &most);
            prop_assert_eq!(dealt.iter().sum::<u16>(), total.min(most.iter().sum()));
            let largest = dealt.iter().max().copied().unwrap_or(0);
            for (hand, most) in dealt.iter().zip(&most) {
                prop_assert!(hand <= most);
                prop_assert!(hand == most || hand + 1 >= largest, "{dealt:?} of {most:?}");
            }
        }
    }
}
