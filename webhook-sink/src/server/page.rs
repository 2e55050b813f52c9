//! The page at `/`: embedded files that ask nobody but this receiver.

use axum::{
    Router,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};

/// Nothing but our own files, nothing inline, nothing evaluated, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// Path, type, text.
const FILES: [(&str, &str, &str); 11] = [
    ("/", HTML, include_str!("../../page/index.html")),
    ("/page/app.css", STYLE, include_str!("../../page/app.css")),
    ("/page/theme.js", SCRIPT, include_str!("../../page/theme.js")),
    ("/page/app.js", SCRIPT, include_str!("../../page/app.js")),
    ("/page/charts.js", SCRIPT, include_str!("../../page/charts.js")),
    ("/page/events.js", SCRIPT, include_str!("../../page/events.js")),
    ("/page/filters.js", SCRIPT, include_str!("../../page/filters.js")),
    ("/page/text.js", SCRIPT, include_str!("../../page/text.js")),
    ("/page/icon.svg", "image/svg+xml", include_str!("../../page/icon.svg")),
    ("/page/uplot.js", SCRIPT, include_str!("../../page/vendor/uPlot.iife.min.js")),
    ("/page/uplot.css", STYLE, include_str!("../../page/vendor/uPlot.min.css")),
];

/// A path for each file.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.into_iter().fold(Router::new(), |router, (path, content_type, text)| {
        router.route(path, get(move || async move { file(content_type, text) }))
    })
}

fn file(content_type: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // For browsers that do not know frame-ancestors.
        (header::X_FRAME_OPTIONS, "DENY"),
        // The files belong to this version of the program.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}
