/**
 * The little of Protocol Buffers that an exposition needs: varints, doubles and nested messages.
 * @see https://protobuf.dev/programming-guides/encoding/
 */
export class ProtobufWriter {
  #buffer: Buffer = Buffer.allocUnsafe(256)
  #at = 0

  get length(): number {
    return this.#at
  }

  /** What was written, and an empty writer. The bytes are copied. */
  take(): Buffer {
    const bytes = Buffer.from(this.#buffer.subarray(0, this.#at))
    this.#at = 0
    return bytes
  }

  string(field: number, value: string): void {
    const bytes = Buffer.byteLength(value)
    this.#tag(field, 2)
    this.varint(bytes)
    this.#room(bytes)
    this.#at += this.#buffer.write(value, this.#at)
  }

  /** @param value a non-negative integer up to 2^53 */
  unsigned(field: number, value: number): void {
    this.#tag(field, 0)
    this.varint(value)
  }

  /** Zigzag. @param value an integer within ±2^52 */
  signed(field: number, value: number): void {
    this.#tag(field, 0)
    this.varint(value < 0 ? -value * 2 - 1 : value * 2)
  }

  double(field: number, value: number): void {
    this.#tag(field, 1)
    this.#room(8)
    this.#at = this.#buffer.writeDoubleLE(value, this.#at)
  }

  message(field: number, bytes: Uint8Array): void {
    this.#tag(field, 2)
    this.varint(bytes.length)
    this.#room(bytes.length)
    this.#buffer.set(bytes, this.#at)
    this.#at += bytes.length
  }

  varint(value: number): void {
    this.#room(10)
    let rest = value
    while (rest >= 128) {
      this.#buffer[this.#at++] = (rest % 128) | 128
      rest = Math.floor(rest / 128)
    }
    this.#buffer[this.#at++] = rest
  }

  #tag(field: number, wireType: number): void {
    this.varint(field * 8 + wireType)
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#buffer.length) return
    const larger = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#at + bytes))
    larger.set(this.#buffer.subarray(0, this.#at))
    this.#buffer = larger
  }
}
