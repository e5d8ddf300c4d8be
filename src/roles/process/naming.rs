//! Names that must be unique for ever.

/// `<group>.<instance>.<worker>.<start>.<n>`: `start` is the process's start in ms since 1970, `n` counts the
/// worker's producers.
pub(super) fn transactional_id(group: &str, instance: &str, worker: u32, start_ms: i64, n: u32) -> String {
    format!("{group}.{instance}.{worker}.{start_ms}.{n}")
}

/// The name of an instance that was given none: eight hex digits of chance.
pub(super) fn chance_name() -> String {
    format!("{:08x}", rand::random::<u32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_tell_every_part() {
        assert_eq!(transactional_id("tickgate", "a1", 2, 1_700, 3), "tickgate.a1.2.1700.3");
        assert_eq!(chance_name().len(), 8);
    }
}
