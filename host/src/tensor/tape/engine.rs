//! The op table on a tape: each op beside its way back.

use super::{Tape, TrainParam, Variable};
use crate::tensor::derivatives::{AttendBackward, BceSide, Derivatives, LinearBackward, NormWants, Normalised};
use kadapter_plugin_api::{Activation, Engine, Result, Segments};
use std::sync::Arc;

impl<E: Derivatives> Tape<'_, E> {
    /// The keys of a result with one row for each row of the first input: those of the first keyed input that has as many.
    fn keys(&self, inputs: &[&Variable<E>]) -> Option<Arc<[u64]>> {
        let rows = inputs.first().map_or(0, |input| self.shape(input)[0]);
        inputs.iter().find_map(|input| input.keys.clone().filter(|keys| keys.len() == rows))
    }

    /// The op with one input and one row for each of its rows.
    fn each(
        &self,
        x: &Variable<E>,
        value: E::Tensor,
        back: impl FnOnce(&E, E::Tensor) -> Result<E::Tensor> + 'static,
    ) -> Result<Variable<E>> {
        self.single(x, x.keys.clone(), value, back)
    }

    /// The op with one input.
    fn single(
        &self,
        x: &Variable<E>,
        keys: Option<Arc<[u64]>>,
        value: E::Tensor,
        back: impl FnOnce(&E, E::Tensor) -> Result<E::Tensor> + 'static,
    ) -> Result<Variable<E>> {
        let node = x.node;
        self.keep(value, keys, node.is_some(), move |play, gradient| {
            let gradient = back(play.engine, gradient)?;
            play.give(node, gradient)
        })
    }

    /// The gradient of the second operand of a sum or product: one row stands for each.
    fn folded(engine: &E, gradient: E::Tensor, shape: [usize; 2]) -> Result<E::Tensor> {
        if engine.shape(&gradient) == shape { Ok(gradient) } else { engine.column_sums(&gradient) }
    }

    fn normalised(
        &self,
        x: &Variable<E>,
        residual: Option<&Variable<E>>,
        weight: &TrainParam<E>,
        bias: &TrainParam<E>,
        epsilon: f32,
    ) -> Result<Variable<E>> {
        let engine = self.engine;
        let keys = self.keys(&[x, residual.unwrap_or(x)]);
        let (gain, shift) = (weight.vector(engine)?, bias.vector(engine)?);
        let (x_node, residual_node) = (x.node, residual.and_then(|residual| residual.node));
        let wants = NormWants {
            x: x_node.is_some() || residual_node.is_some(),
            parameters: self.trains(weight) || self.trains(bias),
        };
        if !wants.x && !wants.parameters {
            let value = match residual {
                Some(residual) => engine.add_layer_norm(&x.value, &residual.value, &gain, &shift, epsilon),
                None => engine.layer_norm(&x.value, &gain, &shift, epsilon),
            }?;
            return Ok(Variable::constant(value, keys));
        }
        let residual = residual.map(|residual| &residual.value);
        let Normalised { out, normal, scale } = engine.normalise(&x.value, residual, &gain, &shift, epsilon)?;
        let (trains_weight, trains_bias) = (self.trains(weight), self.trains(bias));
        let (weight, bias) = (weight.clone(), bias.clone());
        self.keep(out, keys, true, move |play, gradient| {
            let gradients = play.engine.normalise_backward(&gradient, &normal, &scale, &gain, wants)?;
            drop(gradient);
            if let Some([of_weight, of_bias]) = gradients.parameters {
                if trains_weight {
                    play.give_parameter(&weight, of_weight)?;
                }
                if trains_bias {
                    play.give_parameter(&bias, of_bias)?;
                }
            }
            match gradients.x {
                Some(gradient) if x_node.is_some() && residual_node.is_some() => {
                    play.give(x_node, gradient.clone())?;
                    play.give(residual_node, gradient)
                }
                Some(gradient) => play.give(x_node.or(residual_node), gradient),
                None => Ok(()),
            }
        })
    }

    fn attended(
        &self,
        [q, k, v]: [&Variable<E>; 3],
        heads: usize,
        segments: &Segments,
        mask: Option<&super::MaskSpec>,
    ) -> Result<Variable<E>> {
        let keys = self.keys(&[q, k, v]);
        let nodes = [q.node, k.node, v.node];
        if mask.is_none() && nodes.iter().all(Option::is_none) {
            let value = self.engine.attention(&q.value, &k.value, &v.value, heads, segments)?;
            return Ok(Variable::constant(value, keys));
        }
        let (out, attended) = self.engine.attend(&q.value, &k.value, &v.value, heads, segments, mask)?;
        let (q, k, v) = (q.value.clone(), k.value.clone(), v.value.clone());
        let (kept, segments) = (out.clone(), segments.clone());
        self.keep(out, keys, nodes.iter().any(Option::is_some), move |play, gradient| {
            let gradients = play.engine.attend_backward(AttendBackward {
                gradient: &gradient,
                q: &q,
                k: &k,
                v: &v,
                out: &kept,
                heads,
                segments: &segments,
                attended: &attended,
            })?;
            drop(gradient);
            nodes.into_iter().zip(gradients).try_for_each(|(node, gradient)| play.give(node, gradient))
        })
    }
}

impl<E: Derivatives> Engine for Tape<'_, E> {
    type Tensor = Variable<E>;
    type Param = TrainParam<E>;

    fn shape(&self, tensor: &Variable<E>) -> [usize; 2] {
        self.engine.shape(&tensor.value)
    }

    fn from_f32(&self, rows: usize, columns: usize, values: Vec<f32>) -> Result<Variable<E>> {
        self.engine.from_f32(rows, columns, values).map(|value| self.constant(value))
    }

    fn read_f32(&self, tensor: &Variable<E>) -> Result<Vec<f32>> {
        self.engine.read_f32(&tensor.value)
    }

    fn zeros(&self, rows: usize, columns: usize) -> Result<Variable<E>> {
        self.engine.zeros(rows, columns).map(|value| self.constant(value))
    }

    fn parameter(&self, param: &TrainParam<E>) -> Result<Variable<E>> {
        let owner = param.clone();
        self.keep(param.value(), None, self.trains(param), move |play, gradient| play.give_parameter(&owner, gradient))
    }

    fn linear(
        &self,
        x: &Variable<E>,
        weight: &TrainParam<E>,
        bias: Option<&TrainParam<E>>,
        activation: Activation,
    ) -> Result<Variable<E>> {
        let engine = self.engine;
        let packed = weight.weight(engine)?;
        let shift = bias.map(|bias| bias.vector(engine)).transpose()?;
        let bias = bias.filter(|bias| self.trains(bias)).cloned();
        let (node, trains) = (x.node, self.trains(weight));
        if node.is_none() && !trains && bias.is_none() {
            let value = engine.linear(&x.value, &packed, shift.as_deref(), activation)?;
            return Ok(Variable::constant(value, x.keys.clone()));
        }
        let (value, slope) = if activation == Activation::Identity {
            (engine.linear(&x.value, &packed, shift.as_deref(), activation)?, None)
        } else {
            let (value, slope) = engine.linear_sloped(&x.value, &packed, shift.as_deref(), activation)?;
            (value, Some(slope))
        };
        let (input, weight) = (trains.then(|| x.value.clone()), weight.clone());
        self.keep(value, x.keys.clone(), true, move |play, gradient| {
            let transposed = node.map(|_| weight.transposed(play.engine)).transpose()?;
            let gradients = play.engine.linear_backward(LinearBackward {
                gradient,
                slope: slope.as_ref(),
                x: input.as_ref(),
                bias: bias.is_some(),
                weight: transposed.as_deref(),
            })?;
            if let Some(gradient) = gradients.weight {
                play.give_parameter(&weight, gradient)?;
            }
            if let (Some(bias), Some(gradient)) = (&bias, gradients.bias) {
                play.give_parameter(bias, gradient)?;
            }
            gradients.x.map_or(Ok(()), |gradient| play.give(node, gradient))
        })
    }

    fn matmul(&self, a: &Variable<E>, b: &Variable<E>, transposed: bool) -> Result<Variable<E>> {
        let value = self.engine.matmul(&a.value, &b.value, transposed)?;
        let (a_node, b_node) = (a.node, b.node);
        let left = b_node.map(|_| a.value.clone());
        let right = a_node.map(|_| b.value.clone());
        self.keep(value, a.keys.clone(), a_node.is_some() || b_node.is_some(), move |play, gradient| {
            if let Some(b) = right {
                let of_a = play.engine.matmul(&gradient, &b, !transposed)?;
                play.give(a_node, of_a)?;
            }
            if let Some(a) = left {
                let of_b = if transposed {
                    play.engine.product_transposed(&gradient, &a)
                } else {
                    play.engine.product_transposed(&a, &gradient)
                }?;
                play.give(b_node, of_b)?;
            }
            Ok(())
        })
    }

    fn add(&self, a: &Variable<E>, b: &Variable<E>) -> Result<Variable<E>> {
        let value = self.engine.add(&a.value, &b.value)?;
        let (a_node, b_node) = (a.node, b.node);
        let shape = self.engine.shape(&b.value);
        self.keep(value, self.keys(&[a, b]), a_node.is_some() || b_node.is_some(), move |play, gradient| {
            if b_node.is_some() {
                let of_b = Self::folded(play.engine, gradient.clone(), shape)?;
                play.give(b_node, of_b)?;
            }
            play.give(a_node, gradient)
        })
    }

    fn mul(&self, a: &Variable<E>, b: &Variable<E>) -> Result<Variable<E>> {
        let value = self.engine.mul(&a.value, &b.value)?;
        let (a_node, b_node) = (a.node, b.node);
        let shape = self.engine.shape(&b.value);
        let left = b_node.map(|_| a.value.clone());
        let right = a_node.map(|_| b.value.clone());
        self.keep(value, self.keys(&[a, b]), a_node.is_some() || b_node.is_some(), move |play, gradient| {
            if let Some(a) = left {
                let of_b = Self::folded(play.engine, play.engine.mul(&gradient, &a)?, shape)?;
                play.give(b_node, of_b)?;
            }
            if let Some(b) = right {
                let of_a = play.engine.mul(&gradient, &b)?;
                play.give(a_node, of_a)?;
            }
            Ok(())
        })
    }

    fn scale(&self, x: &Variable<E>, factor: f32) -> Result<Variable<E>> {
        let value = self.engine.scale(&x.value, factor)?;
        self.each(x, value, move |engine, gradient| engine.scale(&gradient, factor))
    }

    fn activation(&self, x: &Variable<E>, activation: Activation) -> Result<Variable<E>> {
        if activation == Activation::Identity {
            return Ok(x.clone());
        }
        if !x.is_tracked() {
            let value = self.engine.activation(&x.value, activation)?;
            return Ok(Variable::constant(value, x.keys.clone()));
        }
        let (value, slope) = self.engine.activation_sloped(&x.value, activation)?;
        self.each(x, value, move |engine, gradient| engine.mul(&gradient, &slope))
    }

    fn log(&self, x: &Variable<E>) -> Result<Variable<E>> {
        let value = self.engine.log(&x.value)?;
        let input = x.value.clone();
        self.each(x, value, move |engine, gradient| engine.quotient(&gradient, &input))
    }

    fn layer_norm(
        &self,
        x: &Variable<E>,
        weight: &TrainParam<E>,
        bias: &TrainParam<E>,
        epsilon: f32,
    ) -> Result<Variable<E>> {
        self.normalised(x, None, weight, bias, epsilon)
    }

    fn add_layer_norm(
        &self,
        x: &Variable<E>,
        residual: &Variable<E>,
        weight: &TrainParam<E>,
        bias: &TrainParam<E>,
        epsilon: f32,
    ) -> Result<Variable<E>> {
        self.normalised(x, Some(residual), weight, bias, epsilon)
    }

    fn attention(
        &self,
        q: &Variable<E>,
        k: &Variable<E>,
        v: &Variable<E>,
        heads: usize,
        segments: &Segments,
    ) -> Result<Variable<E>> {
        self.attended([q, k, v], heads, segments, None)
    }

    fn attention_dropout(
        &self,
        q: &Variable<E>,
        k: &Variable<E>,
        v: &Variable<E>,
        heads: usize,
        probability: f32,
        segments: &Segments,
    ) -> Result<Variable<E>> {
        let mask = self.next_mask(probability, self.keys(&[q, k, v]));
        self.attended([q, k, v], heads, segments, mask.as_ref())
    }

    fn concat(&self, tensors: &[&Variable<E>]) -> Result<Variable<E>> {
        let values: Vec<&E::Tensor> = tensors.iter().map(|tensor| &tensor.value).collect();
        let value = self.engine.concat(&values)?;
        let parts: Vec<(Option<usize>, usize)> =
            tensors.iter().map(|tensor| (tensor.node, self.engine.shape(&tensor.value)[1])).collect();
        let wanted = parts.iter().any(|(node, _)| node.is_some());
        self.keep(value, self.keys(tensors), wanted, move |play, gradient| {
            let mut start = 0;
            for (node, columns) in parts {
                if node.is_some() {
                    let part = play.engine.narrow(&gradient, start, columns)?;
                    play.give(node, part)?;
                }
                start += columns;
            }
            Ok(())
        })
    }

    fn narrow(&self, x: &Variable<E>, start: usize, length: usize) -> Result<Variable<E>> {
        let value = self.engine.narrow(&x.value, start, length)?;
        let [_, columns] = self.engine.shape(&x.value);
        self.each(x, value, move |engine, gradient| engine.spread_columns(&gradient, start, columns))
    }

    fn gather(&self, x: &Variable<E>, rows: &[u32]) -> Result<Variable<E>> {
        let value = self.engine.gather(&x.value, rows)?;
        let [count, _] = self.engine.shape(&x.value);
        let keys = self.dropout.map(|_| rows.iter().map(|&row| x.key(row as usize)).collect());
        let rows = rows.to_vec();
        self.single(x, keys, value, move |engine, gradient| engine.scatter_rows(&gradient, &rows, count))
    }

    fn segment_mean(&self, x: &Variable<E>, segments: &Segments) -> Result<Variable<E>> {
        let value = self.engine.segment_mean(&x.value, segments)?;
        let keys = self.dropout.map(|_| segments.ranges().map(|range| x.key(range.start)).collect());
        let segments = segments.clone();
        self.single(x, keys, value, move |engine, gradient| engine.segment_mean_backward(&gradient, &segments))
    }

    fn segment_matmul(&self, a: &Variable<E>, b: &Variable<E>, segments: &Segments) -> Result<Variable<E>> {
        let value = self.engine.segment_matmul(&a.value, &b.value, segments)?;
        let nodes = [a.node, b.node];
        let (left, right, segments) = (a.value.clone(), b.value.clone(), segments.clone());
        self.keep(value, self.keys(&[a, b]), nodes.iter().any(Option::is_some), move |play, gradient| {
            let gradients = play.engine.segment_matmul_backward(&gradient, &left, &right, &segments)?;
            nodes.into_iter().zip(gradients).try_for_each(|(node, gradient)| play.give(node, gradient))
        })
    }

    fn softmax(&self, x: &Variable<E>) -> Result<Variable<E>> {
        let value = self.engine.softmax(&x.value)?;
        let out = value.clone();
        self.each(x, value, move |engine, gradient| engine.softmax_backward(&out, &gradient))
    }

    fn log_softmax(&self, x: &Variable<E>) -> Result<Variable<E>> {
        let value = self.engine.log_softmax(&x.value)?;
        let out = value.clone();
        self.each(x, value, move |engine, gradient| engine.log_softmax_backward(&out, &gradient))
    }

    fn dropout(&self, x: &Variable<E>, probability: f32) -> Result<Variable<E>> {
        let Some(spec) = self.next_mask(probability, x.keys.clone()) else {
            return Ok(x.clone());
        };
        let [rows, columns] = self.engine.shape(&x.value);
        let mask = self.engine.mask(&spec, rows, columns)?;
        let value = self.engine.masked(&x.value, &mask)?;
        self.each(x, value, move |engine, gradient| engine.masked(&gradient, &mask))
    }

    fn embedding(&self, table: &TrainParam<E>, rows: &[u32]) -> Result<Variable<E>> {
        let whole = table.value();
        let value = self.engine.gather(&whole, rows)?;
        let [count, _] = self.engine.shape(&whole);
        let (rows, table) = (rows.to_vec(), table.clone());
        self.keep(value, None, self.trains(&table), move |play, gradient| {
            let gradient = play.engine.scatter_rows(&gradient, &rows, count)?;
            play.give_parameter(&table, gradient)
        })
    }

    fn cross_entropy(&self, logits: &Variable<E>, targets: &[i64]) -> Result<Variable<E>> {
        let value = self.engine.cross_entropy(&logits.value, targets)?;
        let (input, targets) = (logits.value.clone(), targets.to_vec());
        self.single(logits, None, value, move |engine, gradient| {
            engine.cross_entropy_backward(&input, &targets, &gradient)
        })
    }

    fn bce_with_logits(&self, logits: &Variable<E>, targets: &Variable<E>) -> Result<Variable<E>> {
        let value = self.engine.bce_with_logits(&logits.value, &targets.value)?;
        let sides = [(logits.node, BceSide::Logits), (targets.node, BceSide::Targets)];
        let (logits, targets) = (logits.value.clone(), targets.value.clone());
        let wanted = sides.iter().any(|(node, _)| node.is_some());
        self.keep(value, None, wanted, move |play, gradient| {
            for (node, side) in sides {
                if node.is_some() {
                    let part = play.engine.bce_with_logits_backward(&logits, &targets, &gradient, side)?;
                    play.give(node, part)?;
                }
            }
            Ok(())
        })
    }

    fn mse(&self, a: &Variable<E>, b: &Variable<E>) -> Result<Variable<E>> {
        let value = self.engine.mse(&a.value, &b.value)?;
        let (a_node, b_node) = (a.node, b.node);
        let (left, right) = (a.value.clone(), b.value.clone());
        self.keep(value, None, a_node.is_some() || b_node.is_some(), move |play, gradient| {
            let of_a = play.engine.mse_backward(&left, &right, &gradient)?;
            if b_node.is_some() {
                let of_b = play.engine.scale(&of_a, -1.0)?;
                play.give(b_node, of_b)?;
            }
            play.give(a_node, of_a)
        })
    }
}
