//! The code of every problem a recipe can have: the one list behind `docs/diagnostics.md`.

use crate::diagnostic::Severity;

/// A kind of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// The stable code, `HVnnnn`; never given a second meaning.
    pub id: &'static str,
    /// Whether a recipe with it can still be built.
    pub severity: Severity,
    /// What is wrong, in a few words: the title of its section in `docs/diagnostics.md`.
    pub title: &'static str,
}

macro_rules! codes {
    ($($name:ident = $id:literal, $severity:ident, $title:literal;)+) => {
        $(
            #[doc = $title]
            pub const $name: Code = Code { id: $id, severity: Severity::$severity, title: $title };
        )+

        /// Every code, in order.
        pub const ALL: &[Code] = &[$($name),+];
    };
}

// HV01xx: the file and its shape. HV02xx: what it says.
codes! {
    SYNTAX = "HV0101", Error, "not valid YAML";
    UNREADABLE = "HV0102", Error, "file cannot be read";
    TOO_LARGE = "HV0103", Error, "file too large";
    NOT_UTF8 = "HV0104", Error, "not UTF-8";
    UNKNOWN_KEY = "HV0105", Error, "unknown key";
    DUPLICATE_KEY = "HV0106", Error, "key given twice";
    WRONG_TYPE = "HV0107", Error, "wrong type of value";
    UNKNOWN_VALUE = "HV0108", Error, "value not among the known ones";
    MISSING_KEY = "HV0109", Error, "required key missing";
    VERSION = "HV0110", Error, "unknown recipe version";
    INCLUDE_MISSING = "HV0111", Error, "included file does not exist";
    INCLUDE_CYCLE = "HV0112", Error, "recipes include each other in a circle";
    TOO_COMPLEX = "HV0113", Error, "too complex";

    IMAGE_NAME = "HV0201", Error, "invalid image name";
    BASE_MISSING = "HV0202", Error, "no Debian release or architecture chosen";
    UNKNOWN_SUITE = "HV0203", Error, "unknown Debian release";
    NO_KERNEL = "HV0204", Error, "release has no kernel for this architecture";
    COMPONENT = "HV0205", Error, "unknown archive component";
    MIRROR = "HV0206", Error, "mirror is not a URI apt can use";
    NO_POCKET = "HV0207", Error, "release has no such pocket";
    PACKAGE_NAME = "HV0208", Error, "invalid package name";
    KERNEL_PACKAGE = "HV0209", Error, "kernel package does not fit the guest";
    GLOB = "HV0210", Error, "invalid glob";
    PATH = "HV0211", Error, "not an absolute path without '..'";
    OVERLAY_NAME = "HV0212", Error, "invalid overlay name";
    OVERLAY_MISSING = "HV0213", Error, "overlay not found";
    OVERLAY_ENTRY = "HV0214", Error, "overlay holds something that cannot be copied";
    FILE_CONTENT = "HV0215", Error, "file entry without exactly one kind of content";
    FILE_TWICE = "HV0216", Error, "same path given twice";
    SOURCE_MISSING = "HV0217", Error, "source file cannot be copied";
    MODE = "HV0218", Error, "invalid file mode";
    SIZE = "HV0219", Error, "invalid size";
    SIZE_RANGE = "HV0220", Error, "size out of range";
    CPUS = "HV0221", Error, "number of processors out of range";
    USER_NAME = "HV0222", Error, "invalid user name";
    ENVIRONMENT = "HV0223", Error, "invalid environment variable";
    VALIDATION = "HV0224", Error, "validation that runs nothing";
    VALIDATION_TWICE = "HV0225", Error, "two validations of one name";
    NO_SERVICES = "HV0226", Error, "services are to start but none is kept";
    SERVICES_UNCONFIGURED = "HV0227", Error, "services need configured packages";
    DEBIAN_INITRD = "HV0228", Error, "Debian's initrd needs a configured tree and a writable root";
    MODULE_NAME = "HV0229", Error, "invalid kernel module name";
    COMMAND_LINE = "HV0230", Error, "invalid word on the kernel's command line";
    KEEP_WITHOUT_PURGE = "HV0231", Warning, "keep without any purge rule";
    WITHOUT_NOTHING = "HV0232", Warning, "without removes nothing";
    NO_EFFECT = "HV0233", Warning, "setting without effect";
    SERVICE_UNKNOWN = "HV0234", Error, "no package brings this service";
    RELOCATE = "HV0235", Error, "folder cannot become a link";
    REPOSITORY = "HV0236", Error, "shared library repository not found";
    WARM = "HV0237", Error, "a template cannot do this";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_in_order() {
        assert!(ALL.windows(2).all(|pair| pair[0].id < pair[1].id));
        assert!(ALL.iter().all(|code| code.id.len() == 6 && code.id.starts_with("HV0")));
    }
}
