/* A library that the user preloads for reasons of their own. */
int preloaded_answer(void);
int preloaded_answer(void) { return 42; }
