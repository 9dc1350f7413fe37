// Package artefact says what the files of a model hold, and what they would do if somebody
// loaded them: pickles, whose opcodes are followed without any of them being obeyed, archives
// and compressed files with what is in them, ONNX, TensorFlow's SavedModel, Keras, safetensors,
// NumPy arrays and GGUF. Content decides what a file is, and never its name.
//
// Nothing is run, imported or resolved. Files come from strangers: every size is held against
// what is there, nothing is unpacked without end, and what breaks off half way is judged by
// what it would have done until then, as it would have been done by whoever loaded it.
//
// It owns nothing but the files while it reads them.
package artefact
