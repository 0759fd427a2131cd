//! HAProxy's short answers: status, headers and body are its own.
//!
//! Owns [`Reply`].

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, REFRESH, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};

/// What is answered.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    kind: &'static str,
    header: Option<(HeaderName, HeaderValue)>,
    body: String,
}

impl Reply {
    /// An answer that shows something, of a media type.
    pub(super) fn page(kind: &'static str, body: String) -> Self {
        Self { status: StatusCode::OK, kind, header: None, body }
    }

    /// Has browsers ask again after so many seconds.
    pub(super) fn refresh(self, seconds: u64) -> Self {
        Self { header: Some((REFRESH, HeaderValue::from(seconds))), ..self }
    }

    /// As the HTTP library has it.
    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
        headers.extend(self.header);
        response
    }
}

/// The service is up.
pub(super) fn ready() -> Reply {
    short(StatusCode::OK, "200 OK", "Service ready.")
}

/// There is no server to handle a request, or the service is down.
pub(super) fn unavailable() -> Reply {
    short(
        StatusCode::SERVICE_UNAVAILABLE,
        "503 Service Unavailable",
        "No server is available to handle this request.",
    )
}

/// A rule refuses it.
pub(super) fn forbidden() -> Reply {
    short(StatusCode::FORBIDDEN, "403 Forbidden", "Request forbidden by administrative rules.")
}

/// What was asked for makes no sense.
pub(super) fn bad_request() -> Reply {
    short(StatusCode::BAD_REQUEST, "400 Bad request", "Your browser sent an invalid request.")
}

/// A password is needed.
pub(super) fn unauthorized(realm: &str) -> Reply {
    let sentence = "You need a valid user and password to access this content.";
    // A realm that no header can hold is one without a name.
    let challenge = HeaderValue::from_bytes(format!("Basic realm=\"{realm}\"").as_bytes())
        .unwrap_or(HeaderValue::from_static("Basic realm=\"\""));
    Reply {
        header: Some((WWW_AUTHENTICATE, challenge)),
        ..short(StatusCode::UNAUTHORIZED, "401 Unauthorized", sentence)
    }
}

/// Look there.
pub(super) fn see_other(location: &str) -> Reply {
    let location = HeaderValue::from_bytes(location.as_bytes()).unwrap_or(HeaderValue::from_static("/"));
    Reply {
        status: StatusCode::SEE_OTHER,
        kind: "text/plain",
        header: Some((LOCATION, location)),
        body: String::new(),
    }
}

fn short(status: StatusCode, title: &str, sentence: &str) -> Reply {
    let body = format!("<html><body><h1>{title}</h1>\n{sentence}\n</body></html>\n");
    Reply { status, kind: "text/html", header: None, body }
}
