//! A restore without hpcvm: the command line that a user would write by hand for the same files.

use std::path::Path;
use std::sync::mpsc::channel;

use super::build::obtain;
use super::error::TemplateError;
use super::key::restored;
use super::store::Template;
use crate::exec::{Host, Invocation};
use crate::guest::control::Order;
use crate::hypervisor::qemu;
use crate::launch::LaunchError;
use crate::launch::prepare;
use crate::launch::relay::Relay;
use crate::launch::request::{LaunchRequest, WarmStart};
use crate::launch::restore::Restore;

/// A restore that nobody attends: what the job writes to its standard output is the hypervisor's own.
#[derive(Debug)]
pub struct BareRestore {
    /// The hypervisor.
    pub invocation: Invocation,
    /// What each of the sockets that it inherits holds for it when it starts, in their order.
    pub sockets: Vec<Vec<u8>>,
    _template: Template,
}

impl BareRestore {
    /// Of `request`'s machine, with its disks in `folder`. The template is made if there is none.
    pub fn prepare(
        host: &Host,
        request: &LaunchRequest,
        warm: &WarmStart,
        folder: &Path,
    ) -> Result<Self, TemplateError> {
        let (_nobody, interrupts) = channel();
        let template = obtain(host, request, warm, &Relay::new(interrupts))?.template;
        let mut machine = prepare::machine(request, folder)?;
        prepare::make_disks(host, request, folder)?;
        prepare::make_clone(host, request, &machine, Some(&template.folder))?;
        machine.template = Some(restored(&machine, &template.folder));
        let line = qemu::command_line(&machine).map_err(LaunchError::from)?;
        let by_socket = format!("socket,id=hpcvm-stdout,fd={}", machine.ports[2].descriptor);
        let arguments = line.arguments.into_iter().map(|word| {
            if word.to_str() == Some(&by_socket) {
                "file,id=hpcvm-stdout,path=/dev/stdout".into()
            } else {
                word
            }
        });
        // Acknowledged beforehand: the guest powers off as soon as the job has ended.
        let told = Restore::new(&template.folder, &folder.join(prepare::JOB_DISK))?;
        let control = [
            told.control,
            (Order::Go.line() + &Order::Acknowledge.line()).into_bytes(),
        ];
        let empty = machine.ports.iter().skip(1).map(|_| Vec::new());
        Ok(Self {
            invocation: Invocation::new(line.program).args(arguments),
            sockets: std::iter::once(control.concat())
                .chain(empty)
                .chain([told.monitor.into_bytes()])
                .collect(),
            _template: template,
        })
    }
}
