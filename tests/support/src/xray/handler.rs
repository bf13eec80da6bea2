//! How the fake X-Ray decides on a request: it checks the signature and the body, takes note, and
//! answers or fails.

use std::time::Duration;

use serde_json::{Value, json};

use super::fault::{Chooser, Endless, Fault, error};
use super::state::{Batch, State};
use crate::http::{Request, Response};
use crate::sigv4::{self, SignatureError};

/// The service's own limit of documents in one request.
const MOST_DOCUMENTS: usize = 50;

/// What a connection does with the request it has just read.
pub enum Action {
    Answer(Response),
    AnswerAfter(Duration, Response),
    /// Without the headers of AWS.
    AnswerAsImpostor(Response),
    Hold,
    Close,
    Bytes(&'static [u8]),
    Endless(Endless),
}

impl State {
    /// Takes note of a request, and decides what to do with it.
    pub(super) fn handle(&mut self, request: &Request) -> Action {
        let host = request.header("host").unwrap_or_default();
        if let Some(service) = self.other_services.get(host).cloned() {
            return Action::Answer(service(self, request));
        }
        let verdict = sigv4::verify(request, &self.keys, self.region, "xray", self.now());
        // The one request that needs no signature: it only opens a connection ahead of time.
        let warms_up = request.method == "HEAD" && verdict == Err(SignatureError::Unsigned);
        if warms_up {
            self.warm_ups += 1;
        } else {
            self.requests += 1;
        }
        match &verdict {
            Ok(()) => self
                .signers
                .extend(sigv4::signer(request).map(str::to_owned)),
            Err(fault @ (SignatureError::Bad(_) | SignatureError::Unsigned)) if !warms_up => self
                .violations
                .push(format!("{} {}: {fault:?}", request.method, request.target)),
            _ => {}
        }
        let documents = self.documents(request);
        let fault = self
            .faults_to_come
            .pop_front()
            .unwrap_or_else(|| self.fault.clone());
        let mut action = match fault {
            Fault::None => Action::Answer(self.serve(request, &documents, verdict)),
            Fault::Unprocessed(chooser) => {
                self.process_some(request, &documents, verdict, &chooser)
            }
            Fault::Delay(time) => {
                Action::AnswerAfter(time, self.serve(request, &documents, verdict))
            }
            Fault::RejectContaining(text) if documents.iter().any(|d| d.contains(text)) => {
                Action::Answer(error(400, "InvalidRequestException", "Bad document"))
            }
            Fault::TooLarge(bytes) if request.body.len() > bytes => {
                Action::Answer(error(413, "RequestEntityTooLarge", "Too large"))
            }
            Fault::AnswerToContaining(text, response)
                if documents.iter().any(|d| d.contains(text)) =>
            {
                Action::Answer(response)
            }
            Fault::RejectContaining(_) | Fault::AnswerToContaining(..) | Fault::TooLarge(_) => {
                Action::Answer(self.serve(request, &documents, verdict))
            }
            Fault::Answer(response) => Action::Answer(response),
            Fault::Impostor(response) => Action::AnswerAsImpostor(response),
            Fault::Hang => Action::Hold,
            Fault::CloseOnAccept | Fault::CloseAfterReading | Fault::Gone => Action::Close,
            Fault::Bytes(bytes) => Action::Bytes(bytes),
            Fault::Endless(answer) => Action::Endless(answer),
        };
        let status = match &mut action {
            Action::Answer(response)
            | Action::AnswerAfter(_, response)
            | Action::AnswerAsImpostor(response) => {
                if request.method == "HEAD" {
                    response.body.clear();
                }
                Some(response.status)
            }
            _ => None,
        };
        if request.path() == "/TraceSegments" {
            self.batches.push(Batch {
                documents: documents.len(),
                bytes: request.body.len(),
                status,
            });
        }
        if status.is_none() {
            self.unanswered.extend(documents);
        }
        action
    }

    /// The documents of a `POST /TraceSegments`; none for any other request.
    fn documents(&mut self, request: &Request) -> Vec<String> {
        if request.path() != "/TraceSegments" {
            return Vec::new();
        }
        let mut wrong = Vec::new();
        if request.header("content-type") != Some("application/json") {
            wrong.push(format!("Content-Type {:?}", request.header("content-type")));
        }
        let documents = match serde_json::from_slice::<Value>(&request.body) {
            Ok(body) => body["TraceSegmentDocuments"]
                .as_array()
                .and_then(|list| list.iter().map(|d| d.as_str().map(str::to_owned)).collect()),
            Err(error) => {
                wrong.push(format!("body is not JSON: {error}"));
                None
            }
        };
        let documents: Vec<String> = documents.unwrap_or_default();
        let fewest = usize::from(!self.takes_empty_batches);
        if !(fewest..=MOST_DOCUMENTS).contains(&documents.len()) {
            wrong.push(format!("{} documents in a batch", documents.len()));
        }
        self.violations.extend(wrong);
        documents
    }

    fn refuse(&mut self, verdict: Result<(), SignatureError>) -> Option<Response> {
        let (code, text) = match verdict {
            Ok(()) => return None,
            Err(SignatureError::Unsigned) => ("MissingAuthenticationTokenException", "No token"),
            Err(SignatureError::UnknownKey(_)) => {
                self.unknown_keys += 1;
                (
                    "UnrecognizedClientException",
                    "The security token is invalid",
                )
            }
            Err(SignatureError::Expired(_)) => {
                self.expired += 1;
                ("ExpiredTokenException", "The security token has expired")
            }
            Err(SignatureError::Skewed(_)) => {
                self.skewed += 1;
                ("InvalidSignatureException", "Signature expired")
            }
            Err(SignatureError::Bad(_)) => {
                ("InvalidSignatureException", "The signature does not match")
            }
        };
        Some(error(403, code, text))
    }

    /// What X-Ray answers.
    fn serve(
        &mut self,
        request: &Request,
        documents: &[String],
        verdict: Result<(), SignatureError>,
    ) -> Response {
        if let Some(refusal) = self.refuse(verdict) {
            return refusal;
        }
        match request.path() {
            "/TraceSegments" => {
                documents.iter().for_each(|document| self.accept(document));
                Response::new(200, r#"{"UnprocessedTraceSegments":[]}"#)
            }
            "/TelemetryRecords" => {
                let body = serde_json::from_slice(&request.body);
                self.telemetry
                    .push(body.unwrap_or_else(|e| json!(e.to_string())));
                Response::new(200, "{}")
            }
            path => {
                let answer = self.answers.get(path).cloned();
                self.calls.push(request.clone());
                answer.unwrap_or_else(|| error(404, "UnknownOperationException", "No such path"))
            }
        }
    }

    fn process_some(
        &mut self,
        request: &Request,
        documents: &[String],
        verdict: Result<(), SignatureError>,
        chooser: &Chooser,
    ) -> Action {
        if documents.is_empty() || verdict.is_err() {
            return Action::Answer(self.serve(request, documents, verdict));
        }
        let mut entries = Vec::new();
        for document in documents {
            match chooser(document) {
                Some(entry) => {
                    entries.push(entry);
                    self.unprocessed.push(document.clone());
                }
                None => self.accept(document),
            }
        }
        let body = json!({ "UnprocessedTraceSegments": entries }).to_string();
        Action::Answer(Response::new(200, body))
    }
}
