//! The plugin's side of the boundary: building, running and dropping an adapter with every panic caught inside.

use crate::abi::{
    Built, BuiltObjective, Inputs, Instance, Instance_TO, InstanceBox, LossRef, OpTable_TO, Plugin, PluginRef,
    TensorId, TensorRef, TextTable_TO, Trainer, Trainer_TO, TrainerBox,
};
use crate::{
    Adapter, Backbone, Batch, Config, Context, EncodedData, Entry, Error, Metric, Objective, ParamSpec, Params, Record,
    Result, Tensor, Text,
};
use abi_stable::erased_types::TD_Opaque;
use abi_stable::library::{CheckTypeLayout, LibHeader, RootModuleResult};
use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::sabi_types::RRef;
use abi_stable::std_types::{ROption, RResult, RSlice, RVec};
use std::cell::RefCell;
use std::io::Write;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    /// `Some` while plugin code runs; filled with what a panic said and where.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps a caught panic from being printed as well, and notes its place.
fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let caught = PANIC.with(|panic| {
                let Ok(mut panic) = panic.try_borrow_mut() else { return false };
                let Some(said) = panic.as_mut() else { return false };
                let place =
                    info.location().map(|place| format!(" ({}:{})", place.file(), place.line())).unwrap_or_default();
                *said = format!("{}{place}", info.payload_as_str().unwrap_or("no message"));
                true
            });
            if !caught {
                previous(info);
            }
        }));
    });
}

fn guard<T>(place: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    install_hook();
    let outer = PANIC.replace(Some(String::new()));
    let result = catch_unwind(AssertUnwindSafe(work));
    let said = PANIC.replace(outer).unwrap_or_default();
    result.unwrap_or_else(|payload| {
        // A payload may panic again when it is dropped.
        std::mem::forget(payload);
        Err(Error::panic(format!("the adapter panicked in `{place}`: {said}")))
    })
}

/// A value of the plugin whose panics stay inside, those of its `Drop` too.
struct Guarded<A> {
    inner: ManuallyDrop<A>,
    hidden_size: u64,
}

impl<A> Guarded<A> {
    fn new(inner: A, backbone: &Backbone) -> Self {
        Self { inner: ManuallyDrop::new(inner), hidden_size: backbone.hidden_size() as u64 }
    }
}

impl<A: Adapter> Instance for Guarded<A> {
    fn forward<'a>(&self, ops: OpTable_TO<'a, RRef<'a, ()>>, taps: RSlice<'_, TensorRef>) -> RResult<TensorId, Error> {
        guard("forward", || {
            let cx = Context::new(ops);
            let rows = taps.first().map_or(0, |tap| tap.rows);
            let taps: Vec<_> = taps.iter().map(|&tap| Tensor::lent(tap)).collect();
            let features = self.inner.forward(&cx, &taps)?;
            cx.hand_over(&features, rows, self.hidden_size)
        })
        .into()
    }
}

impl<O: Objective> Trainer for Guarded<O> {
    fn encode<'a>(
        &self,
        record: RSlice<'_, Entry>,
        text: TextTable_TO<'a, RRef<'a, ()>>,
    ) -> RResult<EncodedData, Error> {
        guard("encode", || {
            let encoded = self.inner.encode(&Record::new(record.as_slice()), &Text::new(text))?;
            if let crate::Encoded::Example(example) | crate::Encoded::Cut(example, _) = &encoded {
                example.check()?;
            }
            if matches!(&encoded, crate::Encoded::Cut(_, reason) if reason.trim().is_empty()) {
                return Err(Error::new("the record is cut without a word, expected what is lost of it"));
            }
            Ok(encoded.into())
        })
        .into()
    }

    fn loss<'a>(&self, ops: OpTable_TO<'a, RRef<'a, ()>>, batch: &Batch, inputs: Inputs) -> RResult<LossRef, Error> {
        guard("loss", || {
            let cx = Context::new(ops);
            let loss = self.inner.loss(&cx, batch, &Tensor::lent(inputs.last), &Tensor::lent(inputs.features))?;
            if !(loss.weight.is_finite() && loss.weight > 0.0) {
                return Err(Error::new(format!("the loss has weight {}, expected more than 0", loss.weight)));
            }
            Ok(LossRef { value: cx.hand_over_loss(&loss.value)?, weight: loss.weight })
        })
        .into()
    }

    fn tally<'a>(&self, ops: OpTable_TO<'a, RRef<'a, ()>>, batch: &Batch, inputs: Inputs) -> RResult<RVec<f64>, Error> {
        guard("tally", || {
            let cx = Context::new(ops);
            self.inner.tally(&cx, batch, &Tensor::lent(inputs.last), &Tensor::lent(inputs.features)).map(RVec::from)
        })
        .into()
    }

    fn metrics(&self, tally: RSlice<'_, f64>) -> RResult<RVec<Metric>, Error> {
        guard("metrics", || self.inner.metrics(tally.as_slice()).map(RVec::from)).into()
    }

    fn reads_last(&self) -> bool {
        // One that panics is taken to read it: nothing is missing then.
        guard("reads_last", || Ok(self.inner.reads_last())).unwrap_or(true)
    }
}

impl<A> Drop for Guarded<A> {
    fn drop(&mut self) {
        let inner = &mut self.inner;
        // A panic here has no request to answer; what it leaves behind is leaked, the process lives on.
        let dropped = guard("drop", || {
            // SAFETY: this is the only place that drops it, and `drop` runs once.
            unsafe { ManuallyDrop::drop(inner) };
            Ok(())
        });
        if let Err(error) = dropped {
            // The author is to see it; `kadapter plugin check` looks for these words. A stderr that is closed is no reason to panic.
            let _ = writeln!(std::io::stderr(), "{error}");
        }
    }
}

/// Builds an adapter as a plugin does, without a plugin file: for adapters compiled in and for tests.
///
/// # Errors
/// What `build` says, its panic, or configuration keys that it never read.
pub fn instantiate<A: Adapter>(
    config: impl IntoIterator<Item = Entry>,
    backbone: &Backbone,
) -> Result<(InstanceBox, Vec<ParamSpec>)> {
    guard("build", || {
        let (config, mut params) = (Config::new(config), Params::default());
        let adapter = A::build(&config, backbone, &mut params)?;
        config.check_all_read()?;
        Ok((Instance_TO::from_value(Guarded::new(adapter, backbone), TD_Opaque), params.into_specs()))
    })
}

/// Builds an objective as a plugin does, without a plugin file.
///
/// # Errors
/// As [`instantiate`].
pub fn instantiate_objective<O: Objective>(
    config: impl IntoIterator<Item = Entry>,
    backbone: &Backbone,
) -> Result<(TrainerBox, Vec<ParamSpec>)> {
    guard("build", || {
        let (config, mut params) = (Config::new(config), Params::default());
        let objective = O::build(&config, backbone, &mut params)?;
        config.check_all_read()?;
        Ok((Trainer_TO::from_value(Guarded::new(objective, backbone), TD_Opaque), params.into_specs()))
    })
}

extern "C" fn new_adapter<A: Adapter>(config: RVec<Entry>, backbone: Backbone) -> RResult<Built, Error> {
    instantiate::<A>(config, &backbone).map(|(instance, params)| Built { instance, params: params.into() }).into()
}

extern "C" fn new_objective<O: Objective>(
    config: RVec<Entry>,
    backbone: Backbone,
) -> RResult<ROption<BuiltObjective>, Error> {
    instantiate_objective::<O>(config, &backbone)
        .map(|(objective, params)| ROption::RSome(BuiltObjective { objective, params: params.into() }))
        .into()
}

extern "C" fn no_objective(_config: RVec<Entry>, _backbone: Backbone) -> RResult<ROption<BuiltObjective>, Error> {
    RResult::ROk(ROption::RNone)
}

fn module<A: Adapter>() -> PluginRef {
    Plugin { new_adapter: new_adapter::<A>, new_objective: no_objective }.leak_into_prefix()
}

fn module_with_objective<A: Adapter, O: Objective>() -> PluginRef {
    Plugin { new_adapter: new_adapter::<A>, new_objective: new_objective::<O> }.leak_into_prefix()
}

extern "C" fn root<A: Adapter>() -> RootModuleResult {
    abi_stable::library::__call_root_module_loader(module::<A>)
}

extern "C" fn root_with_objective<A: Adapter, O: Objective>() -> RootModuleResult {
    abi_stable::library::__call_root_module_loader(module_with_objective::<A, O>)
}

/// The header that a plugin exports; [`crate::export_adapter!`] is the only caller.
#[doc(hidden)]
#[must_use]
pub const fn header<A: Adapter>() -> LibHeader {
    // SAFETY: `root` gives a `PluginRef`, the type named here.
    unsafe { LibHeader::from_constructor::<PluginRef>(root::<A>, CheckTypeLayout::Yes) }
}

/// [`header`] of a plugin that brings an objective too.
#[doc(hidden)]
#[must_use]
pub const fn header_with_objective<A: Adapter, O: Objective>() -> LibHeader {
    // SAFETY: `root_with_objective` gives a `PluginRef`, the type named here.
    unsafe { LibHeader::from_constructor::<PluginRef>(root_with_objective::<A, O>, CheckTypeLayout::Yes) }
}

/// Exports an [`Adapter`] from a `cdylib`, once per crate, and the [`Objective`] that trains it where there is one: the entry symbol
/// and the metadata note.
///
/// ```ignore
/// export_adapter!(MyAdapter);
/// export_adapter!(MyAdapter, objective: MyObjective);
/// ```
///
/// A crate that aborts on panic does not compile: the host lives on only if a panic can be caught.
#[macro_export]
macro_rules! export_adapter {
    ($adapter:ty) => {
        $crate::export_adapter!(@header $crate::__private::header::<$adapter>());
    };
    ($adapter:ty, objective: $objective:ty) => {
        $crate::export_adapter!(@header $crate::__private::header_with_objective::<$adapter, $objective>());
    };
    (@header $header:expr) => {
        const _: () = {
            #[cfg(panic = "abort")]
            ::core::compile_error!(
                "a kadapter plugin cannot be built with `panic = \"abort\"`: one panic would end the host"
            );

            #[unsafe(no_mangle)]
            static KADAPTER_PLUGIN: $crate::__private::LibHeader = $header;

            #[used]
            #[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__kadapter"))]
            #[cfg_attr(windows, unsafe(link_section = ".kadapt"))]
            #[cfg_attr(not(any(windows, target_vendor = "apple")), unsafe(link_section = ".note.kadapter"))]
            static NOTE: [u8; $crate::note::SIZE] =
                $crate::note::encode(::core::env!("CARGO_PKG_NAME"), ::core::env!("CARGO_PKG_VERSION"));
        };
    };
}
