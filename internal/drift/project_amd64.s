//go:build !purego

#include "textflag.h"

// Four directions lie beside each other, and none is added to another: products and sums are
// rounded as they are one by one, which a fused multiplication would not do.

// func project(sums, signs *[32]float64, row *float64, n int)
TEXT ·project(SB), NOSPLIT, $0-32
	MOVQ sums+0(FP), DI
	MOVQ signs+8(FP), SI
	MOVQ row+16(FP), DX
	MOVQ n+24(FP), CX
	VMOVUPD 0(DI), Y0
	VMOVUPD 32(DI), Y1
	VMOVUPD 64(DI), Y2
	VMOVUPD 96(DI), Y3
	VMOVUPD 128(DI), Y4
	VMOVUPD 160(DI), Y5
	VMOVUPD 192(DI), Y6
	VMOVUPD 224(DI), Y7

column:
	VBROADCASTSD (DX), Y8
	VMULPD 0(SI), Y8, Y9
	VMULPD 32(SI), Y8, Y10
	VMULPD 64(SI), Y8, Y11
	VMULPD 96(SI), Y8, Y12
	VADDPD Y9, Y0, Y0
	VADDPD Y10, Y1, Y1
	VADDPD Y11, Y2, Y2
	VADDPD Y12, Y3, Y3
	VMULPD 128(SI), Y8, Y9
	VMULPD 160(SI), Y8, Y10
	VMULPD 192(SI), Y8, Y11
	VMULPD 224(SI), Y8, Y12
	VADDPD Y9, Y4, Y4
	VADDPD Y10, Y5, Y5
	VADDPD Y11, Y6, Y6
	VADDPD Y12, Y7, Y7
	ADDQ $8, DX
	ADDQ $256, SI
	DECQ CX
	JNZ column

	VMOVUPD Y0, 0(DI)
	VMOVUPD Y1, 32(DI)
	VMOVUPD Y2, 64(DI)
	VMOVUPD Y3, 96(DI)
	VMOVUPD Y4, 128(DI)
	VMOVUPD Y5, 160(DI)
	VMOVUPD Y6, 192(DI)
	VMOVUPD Y7, 224(DI)
	VZEROUPPER
	RET
