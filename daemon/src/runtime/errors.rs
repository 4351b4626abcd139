//! What an error says.

/// All that an error says about itself and its causes, in one line. A cause that the text ends with already, as some
/// libraries have it, is not said twice.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
    causes.reduce(|all, cause| if all.ends_with(&cause) { all } else { format!("{all}: {cause}") }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Said(&'static str, #[source] Option<Box<Said>>);

    #[test]
    fn every_cause_is_said_once() {
        let cause = Said("refused", Some(Box::new(Said("by the firewall", None))));
        assert_eq!(chain(&Said("cannot connect", Some(Box::new(cause)))), "cannot connect: refused: by the firewall");
        let repeated = Said("cannot connect: refused", Some(Box::new(Said("refused", None))));
        assert_eq!(chain(&repeated), "cannot connect: refused");
    }
}
