//! Applies a JMESPath expression to a JSON body.

use serde_json::Value;

/// The longest expression, in bytes.
const MAX_EXPRESSION: usize = 1_000;
/// The stack for one selection, in bytes; the system gives memory only to what is used of it.
const STACK: usize = 64 * 1024 * 1024;

/// Why nothing could be selected. Reads as the end of "select wasn't applied: …".
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SelectError {
    /// The body isn't JSON.
    #[error("the body isn't JSON")]
    NotJson,
    /// The expression can't be read.
    #[error("the JMESPath expression has an error: {0}")]
    Expression(String),
    /// The expression doesn't fit the body.
    #[error("the JMESPath expression doesn't fit this body: {0}")]
    Evaluation(String),
}

/// Selects from a body.
///
/// # Errors
///
/// [`SelectError`]; the caller then shows the body as it is.
pub(super) fn select(body: &str, expression: &str) -> Result<Value, SelectError> {
    let value = serde_json::from_str::<Value>(body).map_err(|_| SelectError::NotJson)?;
    if expression.len() > MAX_EXPRESSION {
        return Err(SelectError::Expression("it is too long".to_owned()));
    }
    let unusable = || SelectError::Evaluation("it can't be evaluated".to_owned());
    // jmespath recurses as deep as the expression is long: on a stack that is large enough for the
    // longest, and where even a panic of its would end this selection alone.
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, || evaluate(value, expression))
            .map_err(|_| unusable())?;
        worker.join().unwrap_or_else(|_| Err(unusable()))
    })
}

fn evaluate(value: Value, expression: &str) -> Result<Value, SelectError> {
    let compiled =
        jmespath::compile(expression).map_err(|error| SelectError::Expression(reason(&error)))?;
    let selected =
        compiled.search(value).map_err(|error| SelectError::Evaluation(reason(&error)))?;
    serde_json::to_value(&*selected)
        .map_err(|_| SelectError::Evaluation("the result isn't JSON".to_owned()))
}

/// The error's reason on one line, without the drawing of the place.
fn reason(error: &jmespath::JmespathError) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_example_of_the_schema_works() {
        let body = r#"[{"id":1,"title":"a","more":2},{"id":2,"title":"b"}]"#;
        assert_eq!(
            select(body, "[].{id: id, title: title}").unwrap(),
            json!([{"id": 1, "title": "a"}, {"id": 2, "title": "b"}])
        );
    }

    #[test]
    fn what_cannot_be_selected_says_why() {
        assert_eq!(select("<html>", "a"), Err(SelectError::NotJson));
        assert!(matches!(select("{}", "a[?"), Err(SelectError::Expression(_))));
        assert!(matches!(select("{}", "nofunction(a)"), Err(SelectError::Evaluation(_))));
    }

    #[test]
    fn a_hostile_expression_ends_the_selection_and_not_the_process() {
        for unit in ["!", "(", "[", "a.", "a||", "&", "{a:", "[?", "a|", "*.", "[]", "-1"] {
            for count in [10, 31, 200, 999] {
                let expression =
                    unit.repeat(count).chars().take(MAX_EXPRESSION).collect::<String>();
                let _ = select("{\"a\":{\"a\":[1,2]}}", &expression);
                let _ = select("{\"a\":{\"a\":[1,2]}}", &format!("{expression}a"));
            }
        }
    }
}
