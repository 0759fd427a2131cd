//! The codes of everything that can be wrong with a keepalived.conf.
//!
//! A code never changes its meaning; a retired one is not used again.

/// A block is still open where the file or the block around it ends.
pub const UNCLOSED_BLOCK: &str = "K001";
/// A `}` closes nothing.
pub const STRAY_CLOSE: &str = "K002";
/// A `{` follows no keyword.
pub const STRAY_OPEN: &str = "K003";
/// A quoted string is still open where its line ends.
pub const UNCLOSED_QUOTE: &str = "K004";
/// Another file is named, which is not followed.
pub const INCLUDE: &str = "K005";
/// A line depends on the configuration's id.
pub const CONDITION: &str = "K006";
/// A definition, a sequence or a list that is not understood.
pub const VARIABLE: &str = "K007";
/// The file is a template that nobody filled in.
pub const TEMPLATE: &str = "K008";
/// More than mainstay takes.
pub const TOO_MANY: &str = "K009";
/// Nobody knows this keyword.
pub const UNKNOWN_KEYWORD: &str = "K010";
/// Keepalived acts on this, mainstay does not yet.
pub const NOT_ACTED_ON: &str = "K011";
/// Has no effect here, which changes nothing that matters.
pub const NO_EFFECT: &str = "K012";
/// Keepalived acts on this, and leaving it out would be dangerous.
pub const REFUSED: &str = "K013";
/// A value is missing, or one too many.
pub const VALUE_COUNT: &str = "K014";
/// A value that is not what the keyword takes.
pub const BAD_VALUE: &str = "K015";
/// A value outside the keyword's range.
pub const OUT_OF_RANGE: &str = "K016";
/// A keyword given twice in one block.
pub const GIVEN_TWICE: &str = "K017";
/// A keyword without its block, or with one it does not take.
pub const BLOCK_EXPECTED: &str = "K018";
/// A block lacks something it cannot do without.
pub const MISSING: &str = "K020";
/// Two blocks of one kind share a name.
pub const SAME_NAME: &str = "K021";
/// Two instances share a virtual router id on one interface.
pub const SAME_VRID: &str = "K022";
/// A tracked script that is not defined.
pub const UNDEFINED_SCRIPT: &str = "K023";
/// A tracked script that is defined further down.
pub const LATE_SCRIPT: &str = "K024";
/// A script that nothing tracks.
pub const UNUSED_SCRIPT: &str = "K025";
/// A password longer than the eight bytes that are used.
pub const LONG_PASSWORD: &str = "K026";
/// A password that a comment cuts short.
pub const CUT_PASSWORD: &str = "K027";
/// A password where the protocol has none.
pub const USELESS_PASSWORD: &str = "K028";
/// `nopreempt` or `preempt_delay` that `state MASTER` or the other one undoes.
pub const PREEMPT_CONFLICT: &str = "K029";
/// `state MASTER` without a priority.
pub const OWNER_BY_DEFAULT: &str = "K030";
/// An advert interval that has to be rounded.
pub const ROUNDED_INTERVAL: &str = "K031";
/// Unicast settings without a peer.
pub const NO_PEERS: &str = "K032";
/// A command that means mainstay's own data plane.
pub const DATA_PLANE: &str = "K033";
/// Shell syntax in a script that no shell reads.
pub const SHELL_SYNTAX: &str = "K034";
/// A command that seems to look for HAProxy's process.
pub const LOOKS_FOR_HAPROXY: &str = "K035";
/// A time that was probably meant in other units.
pub const ODD_TIME: &str = "K036";
/// An address that clashes with another one.
pub const ADDRESS_CLASH: &str = "K037";
/// Something tracked twice, or tracked already.
pub const TRACKED_TWICE: &str = "K038";
/// `init_fail`, which Keepalived itself does not carry out.
pub const INIT_FAIL: &str = "K039";
/// A key that is too short or too long.
pub const KEY_LENGTH: &str = "K040";
/// A key whose hexadecimal digits are none.
pub const KEY_DIGITS: &str = "K041";
/// Two keys of one number.
pub const KEY_TWICE: &str = "K042";
/// The key that signs is not defined.
pub const UNDEFINED_KEY: &str = "K043";
/// Two ways of authentication in one instance.
pub const TWO_AUTHENTICATIONS: &str = "K044";
/// A key file that cannot be read.
pub const KEY_FILE: &str = "K045";
/// A key file that others can read.
pub const OPEN_KEY_FILE: &str = "K046";
/// Balancers of one virtual router speak different versions.
pub const DIFFERENT_VERSION: &str = "K060";
/// Balancers of one virtual router authenticate in different ways.
pub const DIFFERENT_AUTHENTICATION: &str = "K061";
/// Balancers of one virtual router have different passwords.
pub const DIFFERENT_PASSWORD: &str = "K062";
/// Balancers of one virtual router have different advert intervals.
pub const DIFFERENT_INTERVAL: &str = "K063";
/// Balancers of one virtual router have different virtual addresses.
pub const DIFFERENT_ADDRESSES: &str = "K064";
/// A balancer sends no adverts to another one of its virtual router.
pub const ONE_SIDED: &str = "K065";
/// Balancers of one virtual router send their adverts in different ways.
pub const DIFFERENT_DELIVERY: &str = "K066";
/// Balancers of one virtual router have the same priority.
pub const EQUAL_PRIORITY: &str = "K067";
/// Several balancers of one virtual router say `state MASTER`.
pub const TWO_MASTERS: &str = "K068";
/// `nopreempt` on one balancer, while another one always takes over.
pub const PREEMPTED_ANYWAY: &str = "K069";
/// What looks like one virtual router has different ids.
pub const DIFFERENT_VRID: &str = "K070";
/// A virtual router that a balancer does not have.
pub const NOT_EVERYWHERE: &str = "K071";
/// Two balancers send from the same address.
pub const SAME_SOURCE: &str = "K072";
/// An interface that this machine does not have.
pub const NO_INTERFACE: &str = "K073";
/// A script's program that this machine does not have.
pub const NO_PROGRAM: &str = "K074";
/// A script's program that may not be executed.
pub const NOT_EXECUTABLE: &str = "K075";
/// A script that runs as root and that others can change.
pub const EXPOSED_SCRIPT: &str = "K076";
/// A virtual address outside the networks of its interface.
pub const OUTSIDE_SUBNET: &str = "K077";
/// A source address that this machine does not have.
pub const FOREIGN_SOURCE: &str = "K078";
/// A user or group that this machine does not have.
pub const NO_ACCOUNT: &str = "K079";
/// An address of another family than the virtual addresses.
pub const MIXED_FAMILIES: &str = "K080";
/// A member of a sync group that is not defined.
pub const UNDEFINED_MEMBER: &str = "K090";
/// An instance that is in a sync group already.
pub const MEMBER_TWICE: &str = "K091";
/// A sync group with one member.
pub const LONELY_MEMBER: &str = "K092";
/// A weight of a member of a sync group, which does not count.
pub const GROUP_WEIGHT: &str = "K093";
/// A sync group of which some members own their addresses.
pub const MIXED_OWNERS: &str = "K094";
/// A sync group whose members may have different priorities.
pub const FREE_WEIGHTS: &str = "K095";
/// A tracked file, or tracked processes, that are not defined.
pub const UNDEFINED_TRACKED: &str = "K096";
/// A file, or processes, that nothing tracks.
pub const UNTRACKED: &str = "K097";
/// Processes that mean mainstay's own data plane.
pub const DATA_PLANE_PROCESS: &str = "K098";
/// Numbers of processes that no number can meet.
pub const QUORUM: &str = "K099";
/// A FIFO for notifications that clashes with another one, or a reader without one.
pub const FIFO: &str = "K100";
/// Something that strict mode takes back.
pub const STRICT: &str = "K101";
/// A MAC address of one's own choice for `use_vmac`.
pub const VMAC_ADDRESS: &str = "K110";
/// A name for the interface of `use_vmac` that is another's.
pub const VMAC_NAME: &str = "K111";
/// `use_vmac` with unicast, where adverts come from the interface's own MAC address.
pub const VMAC_UNICAST: &str = "K112";
/// A route or rule that lacks something, or asks for two things at once.
pub const ROUTING_SENSE: &str = "K113";
/// A route or rule with addresses of both families.
pub const ROUTING_FAMILIES: &str = "K114";
/// A network with bits set beyond its prefix.
pub const HOST_BITS: &str = "K115";
/// A rule without a priority.
pub const RULE_PRIORITY: &str = "K116";
/// A routing table or protocol by a name that only the machine knows.
pub const ROUTING_NAME: &str = "K117";
