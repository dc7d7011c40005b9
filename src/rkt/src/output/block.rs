//! The block on stderr that tells what a listing could not read.

/// Lines of the block, the command's prefix not yet before them. Empty when
/// there is nothing to tell.
pub fn lines(errors: &[String], what: &str) -> Vec<String> {
    if errors.is_empty() {
        return Vec::new();
    }
    let rule = "-".repeat(40);
    let mut lines = vec![
        format!("{} error(s) encountered when listing {what}:", errors.len()),
        rule.clone(),
    ];
    for error in errors {
        lines.extend(error.lines().map(super::tame));
        lines.push(rule.clone());
    }
    lines.push("misc:".to_string());
    lines.push(format!("  rkt's appc version: {}", model::version::APPC));
    lines.push(String::new());
    lines
}

/// Prints it.
pub fn print(prefix: &str, errors: &[String], what: &str) {
    for line in lines(errors, what) {
        super::remark(prefix, &line);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_error_stands_between_rules() {
        let rule = "-".repeat(40);
        let errors = [
            "Unable to read pod x manifest:\n  gone".to_string(),
            "b".to_string(),
        ];
        assert_eq!(
            super::lines(&errors, "pods"),
            [
                "2 error(s) encountered when listing pods:",
                &rule,
                "Unable to read pod x manifest:",
                "  gone",
                &rule,
                "b",
                &rule,
                "misc:",
                "  rkt's appc version: 0.8.11",
                "",
            ]
        );
        assert!(super::lines(&[], "pods").is_empty());
    }
}
