//! What is wrong with a Pantavisor device by what can be done about it.

use umiak_pantavisor::{AddressError, Error, ErrorKind, NameError};
use umiak_spec::Cancelled;

use super::kinds::{hints, of_io};
use super::{Failure, Kind};

/// Kind and hint.
pub(super) fn of_device(error: &Error) -> (Kind, &'static str) {
    let hint = match error {
        Error::Unreadable { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            return (
                Kind::Environment,
                "the object pool lacks it: `umiak get` or `umiak import` from where it came from",
            );
        }
        Error::Unreadable { source, .. } => return of_io(source),
        Error::Busy { .. } => "it is not broken: try again later, or wait longer with --busy",
        Error::Denied { .. } => {
            "on a control socket the container needs the role `mgmt`; a hub wants a token: -a, or PVR_ACCESSTOKEN"
        }
        Error::NoRoom { .. } | Error::DoesNotFit { .. } => {
            "on a control socket, --gc lets the device delete the revisions that it does not need"
        }
        Error::NoObject { .. } => "whoever has it can give it to the device with `umiak post`",
        Error::Damaged { .. } => "delete it from the object pool and take it again with `umiak get` or `umiak import`",
        Error::Conflict { .. } => "look at what the device has with `umiak get`, or name another revision with --rev",
        Error::NotADevice { .. } => "such as http://10.0.0.7:12368/cgi-bin/pvr; a hub's devices have URLs of their own",
        Error::Unknown { .. } => "post again: what the device has is not sent twice",
        Error::NoVerdict { .. } => "the device goes on by itself; post again to see whether it runs this",
        Error::Failed { message: Some(message), .. } if message.contains("Object validation") => {
            "an object is damaged on the device: post again with --force"
        }
        Error::Failed { .. } => "the device's logs say more",
        Error::Refused { .. } => "sign what the device wants signed, or look at its message",
        Error::Network { .. } => "try again: what was sent or fetched so far need not come again",
        _ => "",
    };
    let kind = match error.kind() {
        ErrorKind::Network | ErrorKind::Denied => Kind::Network,
        ErrorKind::Usage => Kind::Usage,
        ErrorKind::DoesNotFit => Kind::DoesNotFit,
        ErrorKind::Corrupt => Kind::Untrusted,
        ErrorKind::RolledBack => Kind::RolledBack,
        ErrorKind::System | ErrorKind::Cancelled => Kind::Environment,
    };
    (kind, hint)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if let Error::Cancelled(_) = error {
            return Self::from(Cancelled);
        }
        let (kind, hint) = of_device(&error);
        Self::from_error(&error, kind, hints(hint))
    }
}

impl From<AddressError> for Failure {
    fn from(error: AddressError) -> Self {
        let hint = "such as 10.0.0.7, http://10.0.0.7:12368 or unix:/run/pantavisor/pv/pv-ctrl";
        Self::from_error(&error, Kind::Usage, hints(hint))
    }
}

impl From<NameError> for Failure {
    fn from(error: NameError) -> Self {
        Self::from_error(&error, Kind::Usage, hints("such as --rev locals/kiosk-7"))
    }
}
