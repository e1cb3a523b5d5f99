//! The calls that a state dict makes, carried out as data: dicts, storages, tensors, parameters.

use super::super::error::Error;
use super::super::globals::Global;
use super::super::value::{StorageMention, TensorMention, Value};
use super::Machine;

/// Dimensions of a tensor; parameters have at most four.
const MAX_RANK: usize = 8;

impl<'a> Machine<'a> {
    /// `REDUCE` and `NEWOBJ`: a function applied to a tuple of arguments.
    pub(super) fn reduce(&mut self) -> Result<(), Error> {
        let arguments = self.pop()?;
        let callable = match self.pop()? {
            Value::Global(global) => global,
            other => return Err(self.malformed(format!("{} is called", other.kind()))),
        };
        let Value::Tuple(_) = arguments else {
            return Err(self.malformed(format!("`{}` is called with {}", callable.name(), arguments.kind())));
        };
        // At most eight handles are copied: the arguments stay in the arena.
        let arguments: Vec<Value<'a>> =
            self.heap.items(arguments).unwrap_or_default().iter().take(9).copied().collect();
        match (callable, arguments.as_slice()) {
            (Global::OrderedDict, []) => self.dict(Vec::new()),
            (Global::OrderedDict, &[pairs @ Value::List(_)]) => self.dict_of_pairs(pairs),
            (Global::Size, &[items @ (Value::Tuple(_) | Value::List(_))]) => {
                self.stack.push(items);
                Ok(())
            }
            (Global::RebuildTensor, &[storage, offset, shape, strides])
            | (
                Global::RebuildTensorV2,
                &[storage, offset, shape, strides, _, _] | &[storage, offset, shape, strides, _, _, _],
            ) => self.tensor(storage, offset, shape, strides, None),
            (
                Global::RebuildTensorV3,
                &[storage, offset, shape, strides, _, _, dtype] | &[storage, offset, shape, strides, _, _, dtype, _],
            ) => self.tensor(storage, offset, shape, strides, Some(dtype)),
            (Global::RebuildParameter, &[data @ Value::Tensor(_), _, _])
            | (Global::RebuildParameterWithState, &[data @ Value::Tensor(_), _, _, _]) => {
                self.stack.push(data);
                Ok(())
            }
            (callable, arguments) => Err(self.malformed(format!(
                "`{}` is called with {} arguments of the wrong kind or number",
                callable.name(),
                arguments.len()
            ))),
        }
    }

    /// `OrderedDict([[key, value], …])`, as Python 2 writes it.
    fn dict_of_pairs(&mut self, pairs: Value<'a>) -> Result<(), Error> {
        self.charge(self.heap.items(pairs).unwrap_or_default().len())?;
        let mut items = Vec::new();
        for &pair in self.heap.items(pairs).unwrap_or_default() {
            match self.heap.items(pair) {
                Some(&[key, value]) => items.extend([key, value]),
                _ => return Err(self.malformed("an ordered dict is made of something else than pairs")),
            }
        }
        self.dict(items)
    }

    /// `BUILD`: only the `_metadata` of an ordered dict, which says nothing about the tensors.
    pub(super) fn build(&mut self) -> Result<(), Error> {
        let state = self.pop()?;
        let object = self.pop()?;
        match (object, state) {
            (Value::Dict(_), Value::Dict(_) | Value::None) => {
                self.stack.push(object);
                Ok(())
            }
            _ => Err(self.malformed(format!("attributes are set on {}", object.kind()))),
        }
    }

    /// `BINPERSID`: a mention of a storage.
    pub(super) fn persistent(&mut self) -> Result<(), Error> {
        let id = self.pop()?;
        let (class, key, length, view) = match self.heap.items(id) {
            Some(
                &[Value::Text("storage"), Value::Global(class), Value::Text(key), Value::Text(_), Value::Int(length)],
            ) => (class, key, length, Value::None),
            Some(
                &[
                    Value::Text("storage"),
                    Value::Global(class),
                    Value::Text(key),
                    Value::Text(_),
                    Value::Int(length),
                    view,
                ],
            ) => (class, key, length, view),
            _ => return Err(self.malformed("a persistent id that is not a storage")),
        };
        let dtype = match class {
            Global::Storage(dtype) => Some(dtype),
            Global::UntypedStorage => None,
            other => return Err(self.malformed(format!("`{}` stands where a storage class belongs", other.name()))),
        };
        let length = self.unsigned(Value::Int(length), "a storage's length")?;
        let (start, visible) = match (view, self.heap.items(view)) {
            (Value::None, _) => (0, length),
            (_, Some(&[Value::Text(_), start, visible])) => {
                (self.unsigned(start, "a view's offset")?, self.unsigned(visible, "a view's length")?)
            }
            _ => return Err(self.malformed("a storage view that is not (key, offset, length)")),
        };
        if start.checked_add(visible).is_none_or(|end| end > length) {
            return Err(self.malformed(format!("a view of storage `{key}` reaches beyond its {length} values")));
        }
        self.heap.storages.push(StorageMention { key, dtype, length, start, visible });
        self.stack.push(Value::Storage(self.heap.storages.len() - 1));
        Ok(())
    }

    /// `_rebuild_tensor*`; `dtype` is given from version 3 on, before that the storage has it.
    fn tensor(
        &mut self,
        storage: Value<'a>,
        offset: Value<'a>,
        shape: Value<'a>,
        strides: Value<'a>,
        dtype: Option<Value<'a>>,
    ) -> Result<(), Error> {
        let Value::Storage(storage) = storage else {
            return Err(self.malformed(format!("a tensor is made of {}, expected a storage", storage.kind())));
        };
        let Some(mention) = self.heap.storages.get(storage).copied() else {
            return Err(self.malformed("a storage that does not exist"));
        };
        let dtype = match (dtype, mention.dtype) {
            (Some(Value::Global(Global::Dtype(dtype))), _) | (None, Some(dtype)) => dtype,
            (Some(other), _) => {
                return Err(self.malformed(format!("{} stands where a dtype belongs", other.kind())));
            }
            (None, None) => return Err(self.malformed("a tensor on an untyped storage without a dtype")),
        };
        let offset = self.unsigned(offset, "a tensor's offset")?;
        let shape = self.dimensions(shape, "a tensor's shape")?;
        let strides = self.dimensions(strides, "a tensor's strides")?;
        if shape.len() != strides.len() {
            return Err(self.malformed(format!(
                "a tensor has {} dimensions and {} strides",
                shape.len(),
                strides.len()
            )));
        }
        self.heap.tensors.push(TensorMention { storage, dtype, offset, shape, strides });
        self.stack.push(Value::Tensor(self.heap.tensors.len() - 1));
        Ok(())
    }

    fn dimensions(&self, value: Value<'a>, what: &str) -> Result<Vec<u64>, Error> {
        let items = self
            .heap
            .items(value)
            .ok_or_else(|| self.malformed(format!("{what} is {}, expected a tuple", value.kind())))?;
        if items.len() > MAX_RANK {
            return Err(self.malformed(format!("{what} has {} dimensions, expected at most {MAX_RANK}", items.len())));
        }
        items.iter().map(|&item| self.unsigned(item, what)).collect()
    }

    fn unsigned(&self, value: Value<'a>, what: &str) -> Result<u64, Error> {
        match value {
            Value::Int(value) => u64::try_from(value)
                .ok()
                .filter(|&value| i64::try_from(value).is_ok())
                .ok_or_else(|| self.malformed(format!("{what} is {value}"))),
            other => Err(self.malformed(format!("{what} is {}, expected an integer", other.kind()))),
        }
    }
}
