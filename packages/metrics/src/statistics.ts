/**
 * Probability of at least `k` successes in `n` trials of probability `p`: how surprised to be.
 * Exact sum of the binomial distribution, in logarithms.
 *
 * @param p in (0, 1)
 */
export function binomialTail(k: number, n: number, p: number): number {
  if (k <= 0) return 1
  if (k > n) return 0
  const logRatio = Math.log(p) - Math.log1p(-p)
  let logTerm = logChoose(n, k) + k * Math.log(p) + (n - k) * Math.log1p(-p)
  let sum = 0
  for (let i = k; i <= n; i++) {
    const term = Math.exp(logTerm)
    sum += term
    if (term < sum * 1e-12 && i > n * p) break
    logTerm += Math.log((n - i) / (i + 1)) + logRatio
  }
  return Math.min(1, sum)
}

/**
 * Lower end of Wilson's score interval for a proportion: what it is at least, with 97.5 % confidence.
 * @see https://doi.org/10.1080/01621459.1927.10502953
 */
export function wilsonLower(successes: number, n: number, z: number = 1.96): number {
  if (n === 0) return 0
  const share = successes / n
  const middle = share + (z * z) / (2 * n)
  const margin = z * Math.sqrt((share * (1 - share)) / n + (z * z) / (4 * n * n))
  return Math.max(0, (middle - margin) / (1 + (z * z) / n))
}

function logChoose(n: number, k: number): number {
  return logGamma(n + 1) - logGamma(k + 1) - logGamma(n - k + 1)
}

/** Stirling's series, with small arguments raised by recurrence; relative error below 1e-10. */
function logGamma(x: number): number {
  let shift = 0
  let at = x
  while (at < 10) shift -= Math.log(at++)
  const inverse = 1 / at
  const series = inverse * (1 / 12 - (inverse * inverse) / 360 + inverse ** 4 / 1260)
  return shift + (at - 0.5) * Math.log(at) - at + 0.5 * Math.log(2 * Math.PI) + series
}
