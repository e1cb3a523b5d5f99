//! A pickle machine that can build plain values and nothing else.
//!
//! Python's pickle is a program for a stack machine that may call any function. A state dict needs a small part of it:
//! dicts, tuples, text, numbers and six torch helpers, which here are data (see [`Global`]). Every other instruction and
//! every other name is refused when it is met. Protocols 2 to 5 are understood, as far as `torch.save` uses them.

mod input;
mod reduce;

use std::collections::HashMap;

use super::error::Error;
use super::globals::Global;
use super::value::{Heap, Value};

/// Instructions run and values copied, which bounds time and memory. RoBERTa-large takes about 16,000.
const MAX_STEPS: usize = 1 << 20;
/// Marks open at once; a state dict nests four deep.
const MAX_MARKS: usize = 64;
/// What a pickle built.
#[derive(Debug)]
pub(super) struct Unpickled<'a> {
    /// The one value it leaves behind.
    pub(super) root: Value<'a>,
    /// What that value points to.
    pub(super) heap: Heap<'a>,
    /// Bytes of the input that the pickle took.
    pub(super) length: usize,
}

/// Runs the pickle at the start of `input`, which may go on after it.
///
/// # Errors
///
/// Whatever a state dict never needs: see [`Error`]. [`Error::Truncated`] when `input` ends inside the pickle.
pub(super) fn unpickle(input: &[u8]) -> Result<Unpickled<'_>, Error> {
    let mut machine = Machine {
        input,
        at: 0,
        steps: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        heap: Heap::default(),
    };
    loop {
        machine.charge(1)?;
        let at = machine.at;
        let [opcode] = machine.array()?;
        if opcode == b'.' {
            let root = machine.pop()?;
            return Ok(Unpickled { root, heap: machine.heap, length: machine.at });
        }
        machine.step(opcode, at)?;
    }
}

/// The state of one run.
struct Machine<'a> {
    input: &'a [u8],
    at: usize,
    steps: usize,
    stack: Vec<Value<'a>>,
    /// Stack heights at the open marks; what lies below the last one is out of reach.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    heap: Heap<'a>,
}

impl<'a> Machine<'a> {
    /// Runs one instruction, whose opcode stood at byte `at`.
    fn step(&mut self, opcode: u8, at: usize) -> Result<(), Error> {
        match opcode {
            0x80 => self.protocol()?,
            0x95 => drop(self.array::<8>()?), // FRAME: only a promise about buffering
            b'(' => self.mark()?,
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = self.pop()?;
                self.stack.extend([top, top]);
            }
            b'N' => self.stack.push(Value::None),
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            b'J' => {
                let value = i32::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(value.into()));
            }
            b'K' => {
                let [value] = self.array()?;
                self.stack.push(Value::Int(value.into()));
            }
            b'M' => {
                let value = u16::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(value.into()));
            }
            0x8a => {
                let length = self.length::<1>()?;
                self.int(length)?;
            }
            0x8b => {
                let length = self.length::<4>()?;
                self.int(length)?;
            }
            b'G' => {
                let value = f64::from_be_bytes(self.array()?);
                self.stack.push(Value::Float(value));
            }
            0x8c | b'U' => self.text::<1>()?,
            b'X' | b'T' => self.text::<4>()?,
            0x8d => self.text::<8>()?,
            b'C' => self.bytes::<1>()?,
            b'B' => self.bytes::<4>()?,
            0x8e => self.bytes::<8>()?,
            b')' => self.tuple(Vec::new()),
            0x85 => self.short_tuple(1)?,
            0x86 => self.short_tuple(2)?,
            0x87 => self.short_tuple(3)?,
            b't' => {
                let items = self.pop_mark()?;
                self.tuple(items);
            }
            b']' => self.list(Vec::new()),
            b'l' => {
                let items = self.pop_mark()?;
                self.list(items);
            }
            b'a' => {
                let item = self.pop()?;
                self.append([item])?;
            }
            b'e' => {
                let items = self.pop_mark()?;
                self.append(items)?;
            }
            b'}' => self.dict(Vec::new())?,
            b'd' => {
                let items = self.pop_mark()?;
                self.dict(items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.insert(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.insert(&items)?;
            }
            b'q' => {
                let [index] = self.array()?;
                self.put(index.into())?;
            }
            b'r' => {
                let index = u32::from_le_bytes(self.array()?);
                self.put(index)?;
            }
            0x94 => {
                let index = u32::try_from(self.memo.len()).map_err(|_| self.malformed("the memo is full"))?;
                self.put(index)?;
            }
            b'h' => {
                let [index] = self.array()?;
                self.get(index.into())?;
            }
            b'j' => {
                let index = u32::from_le_bytes(self.array()?);
                self.get(index)?;
            }
            b'c' => {
                let module = self.line()?;
                let name = self.line()?;
                self.global(module, name)?;
            }
            0x93 => match (self.pop()?, self.pop()?) {
                (Value::Text(name), Value::Text(module)) => self.global(module, name)?,
                _ => return Err(self.malformed("a global's name is not text")),
            },
            b'Q' => self.persistent()?,
            b'R' | 0x81 => self.reduce()?,
            b'b' => self.build()?,
            // INST names a class in place; the name is the fact worth telling.
            b'i' => {
                let module = self.line()?.to_owned();
                let name = self.line()?.to_owned();
                return Err(Error::ForbiddenGlobal { module, name });
            }
            _ => return Err(Error::ForbiddenInstruction { instruction: instruction_name(opcode), at }),
        }
        Ok(())
    }

    /// Counts work; the budget is what no state dict needs.
    fn charge(&mut self, steps: usize) -> Result<(), Error> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > MAX_STEPS { Err(Error::TooMany { what: "instructions", limit: MAX_STEPS }) } else { Ok(()) }
    }

    /// An error at the current byte.
    fn malformed(&self, what: impl Into<String>) -> Error {
        Error::Malformed { at: self.at, what: what.into() }
    }

    fn mark(&mut self) -> Result<(), Error> {
        if self.marks.len() >= MAX_MARKS {
            return Err(Error::TooMany { what: "levels of nesting", limit: MAX_MARKS });
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    /// The top of the stack; nothing below an open mark can be reached.
    fn pop(&mut self) -> Result<Value<'a>, Error> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() > floor
            && let Some(value) = self.stack.pop()
        {
            return Ok(value);
        }
        Err(self.malformed("a value is taken from an empty stack"))
    }

    /// Everything above the last mark, and the mark.
    fn pop_mark(&mut self) -> Result<Vec<Value<'a>>, Error> {
        let height = self.marks.pop().ok_or_else(|| self.malformed("a mark is missing"))?;
        if height > self.stack.len() {
            return Err(self.malformed("a mark lies above the stack"));
        }
        Ok(self.stack.split_off(height))
    }

    fn tuple(&mut self, items: Vec<Value<'a>>) {
        self.heap.sequences.push(items);
        self.stack.push(Value::Tuple(self.heap.sequences.len() - 1));
    }

    fn short_tuple(&mut self, length: usize) -> Result<(), Error> {
        let mut items = Vec::with_capacity(length);
        for _ in 0..length {
            items.push(self.pop()?);
        }
        items.reverse();
        self.tuple(items);
        Ok(())
    }

    fn list(&mut self, items: Vec<Value<'a>>) {
        self.heap.sequences.push(items);
        self.stack.push(Value::List(self.heap.sequences.len() - 1));
    }

    /// Makes a dict of keys and values in turn.
    fn dict(&mut self, items: Vec<Value<'a>>) -> Result<(), Error> {
        self.heap.dicts.push(Vec::new());
        self.stack.push(Value::Dict(self.heap.dicts.len() - 1));
        self.insert(&items)
    }

    /// Appends to the list on top of the stack.
    fn append(&mut self, items: impl IntoIterator<Item = Value<'a>>) -> Result<(), Error> {
        let list = self.pop()?;
        match list {
            Value::List(index) if index < self.heap.sequences.len() => self.heap.sequences[index].extend(items),
            other => return Err(self.malformed(format!("an item is appended to {}", other.kind()))),
        }
        self.stack.push(list);
        Ok(())
    }

    /// Inserts keys and values in turn into the dict on top of the stack.
    fn insert(&mut self, items: &[Value<'a>]) -> Result<(), Error> {
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(self.malformed("a dict has a key without a value"));
        }
        let dict = self.pop()?;
        match dict {
            Value::Dict(index) if index < self.heap.dicts.len() => {
                self.heap.dicts[index].extend(pairs.iter().map(|&[key, value]| (key, value)));
            }
            other => return Err(self.malformed(format!("an entry is added to {}", other.kind()))),
        }
        self.stack.push(dict);
        Ok(())
    }

    fn put(&mut self, index: u32) -> Result<(), Error> {
        let top = self.pop()?;
        self.memo.insert(index, top);
        self.stack.push(top);
        Ok(())
    }

    fn get(&mut self, index: u32) -> Result<(), Error> {
        let value =
            self.memo.get(&index).copied().ok_or_else(|| self.malformed(format!("memo {index} was never written")))?;
        self.stack.push(value);
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), Error> {
        let global = Global::find(module, name)
            .ok_or_else(|| Error::ForbiddenGlobal { module: module.to_owned(), name: name.to_owned() })?;
        self.stack.push(Value::Global(global));
        Ok(())
    }
}

/// The name of an instruction that is refused.
fn instruction_name(opcode: u8) -> String {
    let name = match opcode {
        b'o' => "OBJ",
        0x92 => "NEWOBJ_EX",
        0x82..=0x84 => "EXT",
        b'P' => "PERSID",
        b'I' => "INT",
        b'L' => "LONG",
        b'F' => "FLOAT",
        b'S' => "STRING",
        b'V' => "UNICODE",
        b'p' => "PUT",
        b'g' => "GET",
        0x8f => "EMPTY_SET",
        0x90 => "ADDITEMS",
        0x91 => "FROZENSET",
        0x96 => "BYTEARRAY8",
        0x97 => "NEXT_BUFFER",
        0x98 => "READONLY_BUFFER",
        _ => return format!("{opcode:#04x}"),
    };
    name.to_owned()
}
