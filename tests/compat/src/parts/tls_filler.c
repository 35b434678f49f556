/* A shared object that uses up static TLS: WORDS words of it, in the initial-exec model. */
static __thread long words[WORDS] __attribute__((tls_model("initial-exec")));

long *filler_words(void) { return words; }
