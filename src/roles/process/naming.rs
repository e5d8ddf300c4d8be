//! Names that must be unique for ever.

/// `<group>.<instance>.<worker>.<start>.<n>`: `start` is the process's start in ms since 1970, `n` counts the
/// worker's producers.
pub(super) fn transactional_id(group: &str, instance: &str, worker: u32, start_ms: i64, n: u32) -> String {
    format!("{group}.{instance}.{worker}.{start_ms}.{n}")
}

/// A worker's name in the group, by whose order partitions are given out: `07` comes before `10`, as `7` would not.
/// There are at most 64.
pub(super) fn member_name(instance: &str, worker: u32) -> String {
    format!("{instance}-{worker:02}")
}

/// The name of an instance that was given none: eight hex digits of chance.
pub(super) fn chance_name() -> String {
    format!("{:08x}", rand::random::<u32>())
}

/// Whether a name is of this form.
pub(super) fn is_chance_name(name: &str) -> bool {
    name.len() == 8 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_tell_every_part() {
        assert_eq!(transactional_id("tickgate", "a1", 2, 1_700, 3), "tickgate.a1.2.1700.3");
        assert!(is_chance_name(&chance_name()));
        assert!(!is_chance_name("phoenix7") && !is_chance_name("abc"));
    }

    #[test]
    fn members_are_in_the_order_of_their_workers() {
        let names: Vec<String> = (0..64).map(|worker| member_name("a", worker)).collect();
        assert!(names.is_sorted(), "{names:?}");
    }
}
