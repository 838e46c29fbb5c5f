//! Problems as they are sent.

use axum::body::to_bytes;
use serde_json::{Value, json};

use super::*;

async fn sent(problem: ApiProblem) -> (StatusCode, Value) {
    let response = problem.into_response();
    assert_eq!(
        response.headers()[CONTENT_TYPE],
        "application/problem+json",
        "the type of a problem"
    );
    let status = response.status();
    let body = to_bytes(response.into_body(), 10_000).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn answers_of_the_state() {
    let of = |answer| ApiProblem::from_answer("service/orders", answer);
    let done = Answer::Done {
        revision: 1,
        changed: true,
        created: true,
    };
    assert_eq!(of(done), None);
    let (status, body) = sent(of(Answer::PreconditionFailed { revision: 7 }).unwrap()).await;
    assert_eq!(status, 412);
    assert_eq!(
        body,
        json!({
            "status": 412, "code": "precondition_failed", "title": "Precondition failed",
            "detail": "service/orders has revision 7; nothing was written", "revision": 7,
        })
    );
    let (status, body) = sent(of(Answer::NotFound).unwrap()).await;
    assert_eq!((status.as_u16(), &body["code"]), (404, &json!("not_found")));
    let by = vec!["http_channel/a".to_owned()];
    let (status, body) = sent(of(Answer::Referenced(by)).unwrap()).await;
    assert_eq!((status.as_u16(), &body["code"]), (409, &json!("conflict")));
    assert_eq!(body["referenced_by"], json!(["http_channel/a"]));
    let error = FieldError {
        field: "port".into(),
        value: "0".into(),
        problem: "must be".into(),
    };
    let (status, body) = sent(of(Answer::Invalid(vec![error])).unwrap()).await;
    assert_eq!((status.as_u16(), &body["code"]), (422, &json!("invalid")));
    assert_eq!(
        body["errors"],
        json!([{"field": "port", "value": "0", "problem": "must be"}])
    );
}

// guarantee: DATA-3
#[test]
fn three_write_outcomes_are_not_mixed() {
    let code = |error: ProposeError| {
        let problem = ApiProblem::from(error);
        (problem.status().as_u16(), problem.code())
    };
    assert_eq!(
        code(ProposeError::NoQuorum { waited_ms: 1 }),
        (503, "no_quorum")
    );
    assert_eq!(
        code(ProposeError::Refused(String::new())),
        (503, "unavailable")
    );
    assert_eq!(
        code(ProposeError::Unknown(String::new())),
        (504, "unknown_outcome")
    );
}
