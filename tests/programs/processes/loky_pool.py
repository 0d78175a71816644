"""joblib, whose default is loky: processes started anew, that serve several calls."""
import json

from joblib import Parallel, delayed

from worker import work

if __name__ == "__main__":
    print(json.dumps(Parallel(n_jobs=2)(delayed(work)() for _ in range(4))))
