"""Inputs, outputs and attributes of every operator on the list. Written by make_operator_schemas.py.

From ONNX's schemas. A line is an operator as it is from one operator set on: name, set, fewest and most inputs, fewest
and most outputs (`*` for any number), and its attributes with a letter each: f i s t a float, an integer, a text or a
tensor, in capitals a list of them; `!` where it must be there. A set without a line of its own has the one before.
"""

from __future__ import annotations

LINES = """
Abs 13 1 1 1 1
Acos 7 1 1 1 1
Acosh 9 1 1 1 1
Add 13 2 2 1 1
And 7 2 2 1 1
ArgMax 13 1 1 1 1 axis=i keepdims=i select_last_index=i
ArgMin 13 1 1 1 1 axis=i keepdims=i select_last_index=i
Asin 7 1 1 1 1
Asinh 9 1 1 1 1
Atan 7 1 1 1 1
Atanh 9 1 1 1 1
AveragePool 11 1 1 1 1 auto_pad=s ceil_mode=i count_include_pad=i kernel_shape!=I pads=I strides=I
AveragePool 19 1 1 1 1 auto_pad=s ceil_mode=i count_include_pad=i dilations=I kernel_shape!=I pads=I strides=I
BatchNormalization 9 5 5 1 5 epsilon=f momentum=f
BatchNormalization 14 5 5 1 3 epsilon=f momentum=f training_mode=i
BitShift 11 2 2 1 1 direction!=s
BitwiseAnd 18 2 2 1 1
BitwiseNot 18 1 1 1 1
BitwiseOr 18 2 2 1 1
BitwiseXor 18 2 2 1 1
Cast 13 1 1 1 1 to!=i
Cast 19 1 1 1 1 saturate=i to!=i
Cast 24 1 1 1 1 round_mode=s saturate=i to!=i
CastLike 15 2 2 1 1
CastLike 19 2 2 1 1 saturate=i
CastLike 24 2 2 1 1 round_mode=s saturate=i
Ceil 13 1 1 1 1
Celu 12 1 1 1 1 alpha=f
Clip 13 1 3 1 1
Concat 13 1 * 1 1 axis!=i
Constant 13 0 0 1 1 value=t value_float=f value_floats=F value_int=i value_ints=I value_string=s value_strings=S
ConstantOfShape 9 1 1 1 1 value=t
Conv 11 2 3 1 1 auto_pad=s dilations=I group=i kernel_shape=I pads=I strides=I
ConvInteger 10 2 4 1 1 auto_pad=s dilations=I group=i kernel_shape=I pads=I strides=I
ConvTranspose 11 2 3 1 1 auto_pad=s dilations=I group=i kernel_shape=I output_padding=I output_shape=I pads=I
    strides=I
Cos 7 1 1 1 1
Cosh 9 1 1 1 1
CumSum 11 2 2 1 1 exclusive=i reverse=i
DepthToSpace 13 1 1 1 1 blocksize!=i mode=s
DequantizeLinear 13 2 3 1 1 axis=i
DequantizeLinear 21 2 3 1 1 axis=i block_size=i
DequantizeLinear 23 2 3 1 1 axis=i block_size=i output_dtype=i
Det 11 1 1 1 1
Div 13 2 2 1 1
DynamicQuantizeLinear 11 1 1 3 3
Einsum 12 1 * 1 1 equation!=s
Elu 6 1 1 1 1 alpha=f
Equal 13 2 2 1 1
Erf 13 1 1 1 1
Exp 13 1 1 1 1
Expand 13 2 2 1 1
EyeLike 9 1 1 1 1 dtype=i k=i
Flatten 13 1 1 1 1 axis=i
Floor 13 1 1 1 1
GRU 7 3 6 0 2 activation_alpha=F activation_beta=F activations=S clip=f direction=s hidden_size=i
    linear_before_reset=i
GRU 14 3 6 0 2 activation_alpha=F activation_beta=F activations=S clip=f direction=s hidden_size=i layout=i
    linear_before_reset=i
Gather 13 2 2 1 1 axis=i
GatherElements 13 2 2 1 1 axis=i
GatherND 13 2 2 1 1 batch_dims=i
Gelu 20 1 1 1 1 approximate=s
Gemm 13 2 3 1 1 alpha=f beta=f transA=i transB=i
GlobalAveragePool 1 1 1 1 1
GlobalLpPool 2 1 1 1 1 p=i
GlobalMaxPool 1 1 1 1 1
Greater 13 2 2 1 1
GreaterOrEqual 12 2 2 1 1
GridSample 16 2 2 1 1 align_corners=i mode=s padding_mode=s
GroupNormalization 18 3 3 1 1 epsilon=f num_groups!=i
GroupNormalization 21 3 3 1 1 epsilon=f num_groups!=i stash_type=i
HardSigmoid 6 1 1 1 1 alpha=f beta=f
HardSwish 14 1 1 1 1
Hardmax 13 1 1 1 1 axis=i
Identity 13 1 1 1 1
InstanceNormalization 6 3 3 1 1 epsilon=f
IsInf 10 1 1 1 1 detect_negative=i detect_positive=i
IsNaN 13 1 1 1 1
LRN 13 1 1 1 1 alpha=f beta=f bias=f size!=i
LSTM 7 3 8 0 3 activation_alpha=F activation_beta=F activations=S clip=f direction=s hidden_size=i input_forget=i
LSTM 14 3 8 0 3 activation_alpha=F activation_beta=F activations=S clip=f direction=s hidden_size=i input_forget=i
    layout=i
LayerNormalization 17 2 3 1 3 axis=i epsilon=f stash_type=i
LeakyRelu 6 1 1 1 1 alpha=f
Less 13 2 2 1 1
LessOrEqual 12 2 2 1 1
Log 13 1 1 1 1
LogSoftmax 13 1 1 1 1 axis=i
LpNormalization 1 1 1 1 1 axis=i p=i
LpPool 11 1 1 1 1 auto_pad=s kernel_shape!=I p=i pads=I strides=I
LpPool 18 1 1 1 1 auto_pad=s ceil_mode=i dilations=I kernel_shape!=I p=i pads=I strides=I
MatMul 13 2 2 1 1
MatMulInteger 10 2 4 1 1
Max 13 1 * 1 1
MaxPool 12 1 1 1 2 auto_pad=s ceil_mode=i dilations=I kernel_shape!=I pads=I storage_order=i strides=I
Mean 13 1 * 1 1
MeanVarianceNormalization 13 1 1 1 1 axes=I
Min 13 1 * 1 1
Mish 18 1 1 1 1
Mod 13 2 2 1 1 fmod=i
Mul 13 2 2 1 1
Neg 13 1 1 1 1
Not 1 1 1 1 1
OneHot 11 3 3 1 1 axis=i
Or 7 2 2 1 1
PRelu 9 2 2 1 1
Pad 13 2 3 1 1 mode=s
Pad 18 2 4 1 1 mode=s
Pow 13 2 2 1 1
QLinearConv 10 8 9 1 1 auto_pad=s dilations=I group=i kernel_shape=I pads=I strides=I
QLinearMatMul 10 8 8 1 1
QuantizeLinear 13 2 3 1 1 axis=i
QuantizeLinear 19 2 3 1 1 axis=i saturate=i
QuantizeLinear 21 2 3 1 1 axis=i block_size=i output_dtype=i saturate=i
QuantizeLinear 23 2 3 1 1 axis=i block_size=i output_dtype=i precision=i saturate=i
RMSNormalization 23 2 2 1 1 axis=i epsilon=f stash_type=i
RNN 7 3 6 0 2 activation_alpha=F activation_beta=F activations=S clip=f direction=s hidden_size=i
RNN 14 3 6 0 2 activation_alpha=F activation_beta=F activations=S clip=f direction=s hidden_size=i layout=i
Reciprocal 13 1 1 1 1
ReduceL1 13 1 1 1 1 axes=I keepdims=i
ReduceL1 18 1 2 1 1 keepdims=i noop_with_empty_axes=i
ReduceL2 13 1 1 1 1 axes=I keepdims=i
ReduceL2 18 1 2 1 1 keepdims=i noop_with_empty_axes=i
ReduceLogSum 13 1 1 1 1 axes=I keepdims=i
ReduceLogSum 18 1 2 1 1 keepdims=i noop_with_empty_axes=i
ReduceLogSumExp 13 1 1 1 1 axes=I keepdims=i
ReduceLogSumExp 18 1 2 1 1 keepdims=i noop_with_empty_axes=i
ReduceMax 13 1 1 1 1 axes=I keepdims=i
ReduceMax 18 1 2 1 1 keepdims=i noop_with_empty_axes=i
ReduceMean 13 1 1 1 1 axes=I keepdims=i
ReduceMean 18 1 2 1 1 keepdims=i noop_with_empty_axes=i
ReduceMin 13 1 1 1 1 axes=I keepdims=i
ReduceMin 18 1 2 1 1 keepdims=i noop_with_empty_axes=i
ReduceProd 13 1 1 1 1 axes=I keepdims=i
ReduceProd 18 1 2 1 1 keepdims=i noop_with_empty_axes=i
ReduceSum 13 1 2 1 1 keepdims=i noop_with_empty_axes=i
ReduceSumSquare 13 1 1 1 1 axes=I keepdims=i
ReduceSumSquare 18 1 2 1 1 keepdims=i noop_with_empty_axes=i
Relu 13 1 1 1 1
Reshape 13 2 2 1 1
Reshape 14 2 2 1 1 allowzero=i
Resize 13 1 4 1 1 coordinate_transformation_mode=s cubic_coeff_a=f exclude_outside=i extrapolation_value=f mode=s
    nearest_mode=s
Resize 18 1 4 1 1 antialias=i axes=I coordinate_transformation_mode=s cubic_coeff_a=f exclude_outside=i
    extrapolation_value=f keep_aspect_ratio_policy=s mode=s nearest_mode=s
ReverseSequence 10 2 2 1 1 batch_axis=i time_axis=i
Round 11 1 1 1 1
ScatterElements 13 3 3 1 1 axis=i
ScatterElements 16 3 3 1 1 axis=i reduction=s
ScatterND 13 3 3 1 1
ScatterND 16 3 3 1 1 reduction=s
Selu 6 1 1 1 1 alpha=f gamma=f
Shape 13 1 1 1 1
Shape 15 1 1 1 1 end=i start=i
Shrink 9 1 1 1 1 bias=f lambd=f
Sigmoid 13 1 1 1 1
Sign 13 1 1 1 1
Sin 7 1 1 1 1
Sinh 9 1 1 1 1
Size 13 1 1 1 1
Slice 13 3 5 1 1
Softmax 13 1 1 1 1 axis=i
Softplus 1 1 1 1 1
Softsign 1 1 1 1 1
SpaceToDepth 13 1 1 1 1 blocksize!=i
SpaceToDepth 28 1 1 1 1 blocksize!=i mode=s
Split 13 1 2 1 * axis=i
Split 18 1 2 1 * axis=i num_outputs=i
Sqrt 13 1 1 1 1
Squeeze 13 1 2 1 1
Sub 13 2 2 1 1
Sum 13 1 * 1 1
Swish 24 1 1 1 1 alpha=f
Tan 7 1 1 1 1
Tanh 13 1 1 1 1
ThresholdedRelu 10 1 1 1 1 alpha=f
Tile 13 2 2 1 1
TopK 11 2 2 2 2 axis=i largest=i sorted=i
Transpose 13 1 1 1 1 perm=I
Trilu 14 1 2 1 1 upper=i
Unsqueeze 13 2 2 1 1
Where 9 3 3 1 1
Xor 7 2 2 1 1
"""
