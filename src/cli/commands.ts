import { addAdaptDomain } from './adapt-domain.js';
import { addAudit } from './audit.js';
import { addCache } from './cache.js';
import { addCheck } from './check.js';
import { addDebias } from './debias.js';
import { addDoctor, addSetup } from './doctor.js';
import { addEval } from './eval.js';
import { addInspect } from './inspect.js';
import { addLrFind } from './lr-find.js';
import { addPredict } from './predict.js';
import { addQuickstart } from './quickstart.js';
import { addRank } from './rank.js';
import { addReport } from './report.js';
import { addSearch } from './search.js';
import { addTrain } from './train.js';
import { addWiseFt } from './wise-ft.js';

/** Each adds one command to the program, in the order in which help lists them. */
export const commands = [
  addTrain,
  addLrFind,
  addSearch,
  addEval,
  addDebias,
  addWiseFt,
  addPredict,
  addReport,
  addInspect,
  addRank,
  addCheck,
  addAudit,
  addAdaptDomain,
  addCache,
  addDoctor,
  addSetup,
  addQuickstart,
];
