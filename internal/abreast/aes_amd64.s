//go:build !purego

#include "textflag.h"

// EXPAND makes a key of a round from that before, in X0 (FIPS 197, section 5.2). X1 and X2 are room.
#define EXPAND(rcon, at) \
	AESKEYGENASSIST rcon, X0, X1 \
	PSHUFD $0xff, X1, X1 \
	MOVO X0, X2 \
	PSLLDQ $4, X2 \
	PXOR X2, X0 \
	PSLLDQ $4, X2 \
	PXOR X2, X0 \
	PSLLDQ $4, X2 \
	PXOR X2, X0 \
	PXOR X1, X0 \
	MOVOU X0, at(DI)

// func expand(keys *[rounds + 1][16]byte)
TEXT ·expand(SB), NOSPLIT, $0-8
	MOVQ keys+0(FP), DI
	MOVOU (DI), X0
	EXPAND($0x01, 16)
	EXPAND($0x02, 32)
	EXPAND($0x04, 48)
	EXPAND($0x08, 64)
	EXPAND($0x10, 80)
	EXPAND($0x20, 96)
	EXPAND($0x40, 112)
	EXPAND($0x80, 128)
	EXPAND($0x1b, 144)
	EXPAND($0x36, 160)
	RET

// EIGHT does what a round does with eight blocks.
#define EIGHT(does, key) \
	does key, X0 \
	does key, X1 \
	does key, X2 \
	does key, X3 \
	does key, X4 \
	does key, X5 \
	does key, X6 \
	does key, X7

// WRITE adds a block to where it came from.
#define WRITE(x, at) \
	MOVOU at(SI), X9 \
	PXOR X9, x \
	MOVOU x, at(SI)

// func oneWay(keys *[rounds + 1][16]byte, x *byte, n int)
//
// A block waits for itself most of the time: four cycles for a round, of which two could begin in
// each.
TEXT ·oneWay(SB), NOSPLIT, $0-24
	MOVQ keys+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ n+16(FP), CX
	CMPQ CX, $8
	JB single

eight:
	MOVOU 0(SI), X0
	MOVOU 16(SI), X1
	MOVOU 32(SI), X2
	MOVOU 48(SI), X3
	MOVOU 64(SI), X4
	MOVOU 80(SI), X5
	MOVOU 96(SI), X6
	MOVOU 112(SI), X7
	MOVOU (DI), X8
	EIGHT(PXOR, X8)
	LEAQ 16(DI), R8
	MOVQ $9, DX

round:
	MOVOU (R8), X8
	EIGHT(AESENC, X8)
	ADDQ $16, R8
	DECQ DX
	JNZ round

	MOVOU (R8), X8
	EIGHT(AESENCLAST, X8)
	WRITE(X0, 0)
	WRITE(X1, 16)
	WRITE(X2, 32)
	WRITE(X3, 48)
	WRITE(X4, 64)
	WRITE(X5, 80)
	WRITE(X6, 96)
	WRITE(X7, 112)
	ADDQ $128, SI
	SUBQ $8, CX
	CMPQ CX, $8
	JAE eight

single:
	TESTQ CX, CX
	JZ done

one:
	MOVOU (SI), X0
	MOVOU (DI), X8
	PXOR X8, X0
	LEAQ 16(DI), R8
	MOVQ $9, DX

step:
	MOVOU (R8), X8
	AESENC X8, X0
	ADDQ $16, R8
	DECQ DX
	JNZ step

	MOVOU (R8), X8
	AESENCLAST X8, X0
	WRITE(X0, 0)
	ADDQ $16, SI
	DECQ CX
	JNZ one

done:
	RET
