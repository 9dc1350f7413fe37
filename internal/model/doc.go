// Package model signs models and verifies their signatures: files and directories, as OpenSSF
// Model Signing has them. [Sign] and [Verify] are commands; they work on files, need no
// server, and leave no record.
//
// It owns how a model lies on a disk, which files are part of it, and how they are hashed;
// what a signature says and by what it holds is package oms's. It owns no state. The models
// that it reads may be a stranger's, and so may their signatures.
package model
