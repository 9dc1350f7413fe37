// Package seal turns keys into envelopes. It owns the cipher, the derivation
// of one key from another, the envelope that every encrypted byte of ours
// lives in, and the key files of an installation.
//
// There is one suite per version and no choice in it: XAES-256-GCM for
// encryption, HKDF-SHA-256 for derivation. Another suite would be another
// version byte, never an option. docs/formats/envelope.md is the specification
// of both; docs/keys.md lists every key of an installation, who holds it and
// what its theft allows.
//
// # The tree of keys
//
// A [KEK] is the root: one file of 32 random bytes. It encrypts nothing itself.
// Everything below it is derived for one purpose, named by a [Label] and a
// context, so that no two uses ever share a key:
//
//	KEK ── LabelKeyFile ────────── wraps the private keys kept beside it
//	   ├── LabelRecord, tenant ─── seals what the tenant's records keep of nobody in particular
//	   ├── LabelSubject, tenant ── wraps the random key of each data subject (package subject)
//	   ├── LabelHandle, tenant ─── finds that key by the subject's name
//	   ├── LabelBundles ────────── seals which bundle a reader has seen last (package bundle)
//	   ├── LabelQuarantine, tenant  seals what the gate holds back (package gate)
//	   ├── LabelDepot, tenant ──── seals the files of its models (package depot)
//	   ├── LabelWire, tenant ───── wraps where its findings go, and what signs them (package siem)
//	   ├── LabelDrift, tenant ──── seals what its models are held to (package monitor)
//	   ├── LabelTicket, tenant ─── wraps what its tools are asked with, and marks its tickets (package ticket)
//	   └── LabelMarks, tenant ──── yields the keys that mark answers of its models (package tier)
//
// A file is only as safe as the machine it lies on; [KEK.Protection] says so.
package seal
