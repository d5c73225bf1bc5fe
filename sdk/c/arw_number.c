// Decimal fractions and doubles, both ways exact: what is read is the nearest double, what is written the shortest text
// that reads as it again. The common cases take a few steps; the others count with long integers.
#include "arw.h"

#define WORDS 256
typedef struct { uint32_t w[WORDS]; int n; } big;

static void times(big *a, uint32_t by, uint32_t plus) {
  uint64_t carry = plus;
  for (int i = 0; i < a->n; i++) {
    carry += (uint64_t)a->w[i] * by;
    a->w[i] = (uint32_t)carry;
    carry >>= 32;
  }
  if (carry && a->n < WORDS) a->w[a->n++] = (uint32_t)carry;
}
static uint32_t divide(big *a, uint32_t by) { // the rest
  uint64_t rest = 0;
  for (int i = a->n - 1; i >= 0; i--) {
    rest = rest << 32 | a->w[i];
    a->w[i] = (uint32_t)(rest / by);
    rest %= by;
  }
  while (a->n && !a->w[a->n - 1]) a->n--;
  return (uint32_t)rest;
}
static void shift(big *a, int bits) {
  int words = bits / 32;
  bits %= 32;
  if (bits) times(a, 1u << bits, 0);
  if (!a->n || !words) return;
  for (int i = a->n - 1; i >= 0; i--) a->w[i + words] = a->w[i];
  for (int i = 0; i < words; i++) a->w[i] = 0;
  a->n += words;
}
static int length(const big *a) { return a->n ? a->n * 32 - __builtin_clz(a->w[a->n - 1]) : 0; }
static bool bit(const big *a, int i) { return i >= 0 && a->w[i / 32] >> (i % 32) & 1; }

static const double tens[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static double from_bits(uint64_t u) {
  double d;
  __builtin_memcpy(&d, &u, 8);
  return d;
}

// exact is a * 2^exp to the nearest double, ties to even; sticky: a little more than a. false: beyond the largest.
static bool exact(const big *a, int exp, bool sticky, double *out) {
  int bits = length(a), e = bits - 1 + exp;
  int keep = e < -1022 ? 53 - (-1022 - e) : 53;
  if (keep < 0) return *out = 0, true;
  uint64_t m = 0;
  for (int i = bits - 1; i >= bits - keep; i--) m = m << 1 | bit(a, i);
  int half = bits - keep - 1;
  for (int i = half - 1; i >= 0 && !sticky; i--) sticky = bit(a, i);
  if (bit(a, half) && (sticky || m & 1)) m++;
  if (keep < 53) return *out = from_bits(m), true;
  if (m >> 53) m >>= 1, e++;
  if (e > 1023) return false;
  *out = from_bits((uint64_t)(e + 1023) << 52 | (m & ((uint64_t)1 << 52) - 1));
  return true;
}

static bool decimal(const char *digit, int n, int exp, double *out) { // 0.digits times 10^(exp + n), so to say: an integer times 10^exp
  while (n && *digit == '0') digit++, n--;
  while (n && digit[n - 1] == '0') n--, exp++;
  if (!n) return *out = 0, true;
  if (n + exp > 310) return false;
  if (n + exp < -330) return *out = 0, true;
  if (n <= 15 && exp >= -22 && exp <= 22) {
    uint64_t m = 0;
    for (int i = 0; i < n; i++) m = m * 10 + (uint64_t)(digit[i] - '0');
    *out = exp < 0 ? (double)m / tens[-exp] : (double)m * tens[exp];
    return true;
  }
  big *a = arw_new(sizeof *a);
  for (int i = 0; i < n; i++) times(a, 10, (uint32_t)(digit[i] - '0'));
  bool sticky = false;
  int bits = 0;
  for (; exp > 0; exp--) times(a, 10, 0);
  if (exp < 0) shift(a, bits = -exp * 10 / 3 + 66);
  for (; exp <= -9; exp += 9) sticky |= divide(a, 1000000000) != 0;
  for (; exp < 0; exp++) sticky |= divide(a, 10) != 0;
  return exact(a, -bits, sticky, out);
}

bool arw_parse_f64(arw_str s, double *out) {
  enum { most = 780 }; // no double needs more to be told from its neighbour
  char *digit = arw_new(most + 1);
  int n = 0, exp = 0, given = 0;
  uint32_t i = 0;
  bool minus = s.len && s.ptr[0] == '-', point = false, more = false;
  for (i = minus; i < s.len && (s.ptr[i] | 32) != 'e'; i++) {
    if (s.ptr[i] == '.') {
      point = true;
      continue;
    }
    if (n < most && (n || s.ptr[i] != '0')) digit[n++] = s.ptr[i];
    else if (n) exp++, more |= s.ptr[i] != '0';
    exp -= point;
  }
  if (i < s.len) {
    bool down = s.ptr[++i] == '-';
    i += s.ptr[i] == '-' || s.ptr[i] == '+';
    for (; i < s.len; i++)
      if (given < 100000) given = given * 10 + (s.ptr[i] - '0');
    exp += down ? -given : given;
  }
  if (more) digit[n++] = '1', exp--;
  if (!decimal(digit, n, exp, out)) return false;
  if (minus) *out = -*out;
  return true;
}

// put_decimal writes n digits with the point behind the first at of them, as ECMAScript would.
static void put_decimal(arw_buf *b, const char *digit, int n, int at) {
  if (at > 21 || at < -5) {
    arw_put_char(b, digit[0]);
    if (n > 1) {
      arw_put_char(b, '.');
      arw_put(b, (arw_str){digit + 1, (uint32_t)n - 1});
    }
    arw_put_char(b, 'e');
    arw_put_i64(b, at - 1);
    return;
  }
  if (at <= 0) arw_put(b, ARW_STR("0."));
  for (int i = at; i < 0; i++) arw_put_char(b, '0');
  for (int i = 0; i < n || i < at; i++) {
    if (i == at && i) arw_put_char(b, '.');
    arw_put_char(b, i < n ? digit[i] : '0');
  }
}

static void shortest(arw_buf *b, double v) { // v > 0 and finite
  uint64_t u;
  __builtin_memcpy(&u, &v, 8);
  int e = (int)(u >> 52);
  uint64_t m = u & ((uint64_t)1 << 52) - 1;
  if (e) m |= (uint64_t)1 << 52;
  else e = 1;
  e -= 1075;
  big *a = arw_new(sizeof *a);
  a->w[0] = (uint32_t)m, a->w[1] = (uint32_t)(m >> 32), a->n = a->w[1] ? 2 : 1;
  int point = 0;
  if (e >= 0) shift(a, e);
  else
    for (point = -e; e < 0; e++) times(a, 5, 0);
  char *all = arw_new(WORDS * 10), *end = all + WORDS * 10, *p = end;
  while (a->n) *--p = (char)('0' + divide(a, 10));
  int have = (int)(end - p);
  for (int n = 1;; n++) {
    char *digit = arw_new(24);
    int at = have - point, len = n < have ? n : have;
    for (int i = 0; i < len; i++) digit[i] = p[i];
    if (n < have && p[n] >= '5') { // up; an exact half does not come up where it would matter
      int i = n - 1;
      while (i >= 0 && digit[i] == '9') digit[i--] = '0';
      if (i >= 0) digit[i]++;
      else {
        digit[0] = '1';
        at++;
      }
    }
    double back;
    if (n >= 17 || decimal(digit, len, at - len, &back) && back == v) {
      while (len > 1 && digit[len - 1] == '0') len--;
      put_decimal(b, digit, len, at);
      return;
    }
  }
}

void arw_put_f64(arw_buf *b, double v) {
  if (v != v || v - v != 0) { // JSON has neither
    arw_put(b, ARW_STR("null"));
    return;
  }
  if (v < 0) {
    arw_put_char(b, '-');
    v = -v;
  }
  if (v < 9007199254740992.0 && v >= 1e-5 || v == 0)
    for (int k = 0; k <= 17; k++) {
      double scaled = v * tens[k];
      if (scaled >= 9007199254740992.0) break;
      uint64_t m = (uint64_t)(scaled + 0.5);
      if ((double)m / tens[k] != v) continue;
      char digit[20];
      int n = 20;
      do digit[--n] = (char)('0' + m % 10);
      while (m /= 10);
      put_decimal(b, digit + n, 20 - n, 20 - n - k);
      return;
    }
  shortest(b, v);
}
