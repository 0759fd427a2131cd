//! The codes of everything that can be wrong with a haproxy.cfg.
//!
//! A code never changes its meaning; a retired one is not used again.

/// A quoted string is still open where its line ends.
pub const UNCLOSED_QUOTE: &str = "H001";
/// An escape sequence that is none.
pub const BAD_ESCAPE: &str = "H002";
/// A reference to an environment variable that is none.
pub const BAD_VARIABLE: &str = "H003";
/// An environment variable that is not set.
pub const UNSET_VARIABLE: &str = "H004";
/// The last line does not end.
pub const CUT_OFF: &str = "H005";
/// More than mainstay takes.
pub const TOO_MANY: &str = "H006";
/// The file is a template that nobody filled in.
pub const TEMPLATE: &str = "H007";
/// A condition that is not understood, or not closed.
pub const CONDITION: &str = "H008";
/// A line stands before the first section.
pub const OUTSIDE_SECTION: &str = "H009";
/// Nobody knows this keyword.
pub const UNKNOWN_KEYWORD: &str = "H010";
/// HAProxy acts on this, mainstay does not yet.
pub const NOT_ACTED_ON: &str = "H011";
/// Has no effect here, which changes nothing that matters.
pub const NO_EFFECT: &str = "H012";
/// HAProxy acts on this, and leaving it out would be dangerous.
pub const REFUSED: &str = "H013";
/// A value is missing, or one too many.
pub const VALUE_COUNT: &str = "H014";
/// A value that is not what the keyword takes.
pub const BAD_VALUE: &str = "H015";
/// A value outside the keyword's range.
pub const OUT_OF_RANGE: &str = "H016";
/// A keyword in a section that passes it over.
pub const IGNORED_HERE: &str = "H017";
/// A keyword in a section that cannot have it.
pub const NOT_ALLOWED_HERE: &str = "H018";
/// A keyword given twice in one section.
pub const GIVEN_TWICE: &str = "H019";
/// A proxy without time-outs.
pub const NO_TIMEOUTS: &str = "H020";
/// Two sections or servers share a name.
pub const SAME_NAME: &str = "H021";
/// A section that is not there.
pub const UNDEFINED_SECTION: &str = "H022";
/// Nobody asked for `mode http` here, and it runs as `mode tcp`.
pub const RUNS_AS_TCP: &str = "H023";
/// `mode http` where it cannot be.
pub const HTTP_MODE: &str = "H024";
/// A check without a port.
pub const NO_CHECK_PORT: &str = "H025";
/// TLS without anybody to believe.
pub const NO_AUTHORITY: &str = "H026";
/// A host name without an address.
pub const UNRESOLVED: &str = "H027";
/// A keyword of HTTP in a proxy that runs as `mode tcp`.
pub const NEEDS_HTTP: &str = "H028";
/// A proxy that leads nowhere.
pub const NOT_STARTED: &str = "H029";
/// A backend that no frontend uses.
pub const UNUSED_BACKEND: &str = "H030";
/// A time-out that cuts connections on which nothing is said for a while.
pub const CUTS_WATCHES: &str = "H031";
/// A syntax that HAProxy gave up.
pub const OBSOLETE: &str = "H032";
/// What the file itself has to say.
pub const SAID_BY_FILE: &str = "H033";
/// A host name with several addresses.
pub const SEVERAL_ADDRESSES: &str = "H034";
/// A frontend that nobody can connect to.
pub const NO_BIND: &str = "H035";
/// A section that lacks what it is there for.
pub const INCOMPLETE_SECTION: &str = "H036";
/// A name of something that is not there.
pub const UNDEFINED_NAME: &str = "H037";
/// A condition names an access list that is not defined above it.
pub const UNDEFINED_ACL: &str = "H050";
/// Nobody knows this sample or converter.
pub const UNKNOWN_SAMPLE: &str = "H051";
/// The arguments of a sample or converter are not what it takes.
pub const SAMPLE_ARGUMENTS: &str = "H052";
/// A pattern that the samples cannot be compared with.
pub const BAD_PATTERN: &str = "H053";
/// A condition that is not one.
pub const BAD_CONDITION: &str = "H054";
/// A test that never holds where it stands.
pub const NEVER_MATCHES: &str = "H055";
/// A rule looks at what clients send and does not wait for it.
pub const NO_INSPECT_DELAY: &str = "H056";
/// A stick table that is not there.
pub const UNDEFINED_TABLE: &str = "H057";
/// A rule stands below one that is asked after it.
pub const RULE_ORDER: &str = "H058";
/// A server that is not there.
pub const UNDEFINED_SERVER: &str = "H059";
/// A connection is counted under what its client sends, and nothing waits for that.
pub const UNTIMELY_KEY: &str = "H060";
/// A frontend that the kernel cannot forward, so that the proxy does.
pub const NAT_NOT_HERE: &str = "H061";
/// Nothing of a configuration can be forwarded by the kernel.
pub const NAT_NOTHING: &str = "H062";
/// The kernel balances by hash what was to be balanced otherwise.
pub const NAT_BY_HASH: &str = "H063";
/// What only a proxy can do, and without which the kernel forwards all the same.
pub const NAT_NO_EFFECT: &str = "H064";
/// A source of connections that cannot be.
pub const SOURCE: &str = "H071";
/// A source address that would come from an HTTP header.
pub const SOURCE_FROM_HEADER: &str = "H072";
/// A socket of this machine whose name cannot be.
pub const LOCAL_ADDRESS: &str = "H073";
/// A number or limit of listeners that cannot be.
pub const LISTENER: &str = "H074";
/// An inherited descriptor that cannot be.
pub const DESCRIPTOR: &str = "H095";
/// A log variable that nobody knows.
pub const UNKNOWN_LOG_VARIABLE: &str = "H105";
/// A log variable that needs `mode http`.
pub const HTTP_LOG_VARIABLE: &str = "H106";
/// A log format that cannot be read.
pub const LOG_FORMAT: &str = "H107";
/// A sample that mainstay cannot log.
pub const LOG_SAMPLE: &str = "H108";
/// A log format without a target.
pub const NO_LOG_TARGET: &str = "H109";
/// A step of a check where it cannot stand.
pub const STEP_ORDER: &str = "H075";
/// A regular expression that cannot be read.
pub const BAD_EXPRESSION: &str = "H076";
/// A check that waits for an answer to nothing.
pub const ASKS_NOTHING: &str = "H077";
/// A server that follows another one which is not there, is not checked, or follows it in turn.
pub const TRACK: &str = "H078";
/// Parameters of one server that exclude each other, or that need another one.
pub const PARAMETERS_CLASH: &str = "H079";
/// Programs are not allowed to be run for checks.
pub const EXTERNAL_CHECK: &str = "H080";
