// Package threatdetector is the sample model of Pavise: a small network that
// tells whether a summary of one network connection looks like normal traffic
// or like one of four families of attack. It owns the model, its card, the
// meaning of its 41 inputs and a generator of rows in their likeness, so that a
// demonstration has something real behind the firewall and something to send.
//
// The model is an ONNX file that takes raw rows: scaling and one-hot encoding
// are inside its graph, and any runtime gives the same answer. It is trained on
// NSL-KDD (Tavallaee and others, "A Detailed Analysis of the KDD CUP 99 Data
// Set", 2009), whose traffic is of 1998; CARD.md says what that means. The
// program in the directory train makes it again, byte for byte.
package threatdetector
