"""One archive for a machine without internet: wheels for its Python, system libraries and the reference teachers."""
